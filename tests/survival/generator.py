"""A child that prints a known pattern as fast as it can: `generator.py TOTAL FD...` (TOTAL 0: for ever).

It begins once it has read something from its standard input.
The byte at offset o of a stream is `pattern(fd)[o % PERIOD]`; on FD 1 all bytes are below 128, on 2 above.
"""

import os
import random
import sys
import termios
import threading
import tty

PERIOD = 1048573
PIECE = 65536


def pattern(fd: int) -> bytes:
    """Return one period of what is printed on a stream."""
    table = bytes((byte % 95 + 32 if byte else 10) | (0x80 if fd == 2 else 0) for byte in range(256))
    return random.Random(fd).randbytes(PERIOD).translate(table)


def write(fd: int, total: int) -> None:
    twice = memoryview(pattern(fd) * 2)
    done = 0
    while not total or done < total:
        first = done % PERIOD
        size = min(PIECE, total - done) if total else PIECE
        done += os.write(fd, twice[first : first + size])


def run() -> None:
    total, *streams = [int(word) for word in sys.argv[1:]]
    if os.isatty(1):
        tty.setraw(1, termios.TCSANOW)
    os.read(0, 1)
    others = [threading.Thread(target=write, args=(fd, total)) for fd in streams[1:]]
    for other in others:
        other.start()
    write(streams[0], total)
    for other in others:
        other.join()
    os._exit(7)


if __name__ == "__main__":
    run()
