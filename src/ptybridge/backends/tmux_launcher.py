"""The process of a tmux pane: starts the session's program behind the pane's terminal, then only waits for its end.

A script of its own, run with `python -I -S`: nothing but the standard library, and little of that, because one of it
stays for every session (3 MB).

How it works: tmux forgets output that it has not passed on when a pane's own process exits or its terminal is closed.
So that process is this one, and the program its child: leader of a session of its own, to which the terminal is handed.
The exit status goes into a file before the program is reaped, so that it is exact, and outlives the daemon. Once
nothing of the program's session is left, a mark is printed: whoever has read that has read everything.
What to run comes through a private socket: neither a command line nor a file shows it.

    launcher.py SOCKET STATUS-FILE MARK
    daemon → here   u32 length, JSON {argv, path, cwd, env, rows, cols, echo, nofile}; then one byte: go
    here → daemon   "P <pid>\\n", and when the program cannot be executed "E <errno> <file>\\n"; end of file: it runs
"""

import fcntl
import json
import os
import resource
import signal
import struct
import sys
import termios
import time
from _socket import AF_UNIX, SOCK_STREAM, socket
from typing import Any

# asm-generic/termbits.h; Python's termios has no name for it.
_IUTF8 = 0o40000
# linux/prctl.h
_PR_SET_PDEATHSIG = 1


def _receive(link: socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = link.recv(size - len(data))
        if not piece:
            sys.exit(1)  # the daemon has given up
        data += piece
    return data


def _prepare_terminal(program: dict[str, Any]) -> None:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", program["rows"], program["cols"], 0, 0))
    mode = termios.tcgetattr(0)
    mode[0] |= _IUTF8
    if not program["echo"]:
        mode[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSANOW, mode)


def _become(link: socket, program: dict[str, Any]) -> None:
    """Be the program; returns never."""
    name = program["path"]
    try:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        _receive(link, 1)
        for number in signal.valid_signals():
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        resource.setrlimit(resource.RLIMIT_NOFILE, tuple(program["nofile"]))
        name = program["cwd"]
        os.chdir(name)
        name = program["path"]
        os.execve(name, program["argv"], program["env"])
    except OSError as error:
        link.sendall(f"E {error.errno} {name}\n".encode(errors="surrogateescape"))
    finally:
        os._exit(127)


def _let_go() -> None:
    """Hold nothing but the terminal; and end when tmux does."""
    os.closerange(3, 1024)
    os.chdir("/")
    try:
        import ctypes  # slow, so only once the program runs

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (ImportError, OSError, AttributeError):
        pass  # then it stays until it is killed
    if os.getppid() == 1:
        sys.exit(1)


def _note(path: str, text: str) -> None:
    try:
        fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.write(fd, text.encode())
        os.close(fd)
        os.rename(path + ".new", path)
    except OSError:
        pass  # its directory is gone: nobody asks any more


def _others_in_session(session: int) -> bool:
    """Tell whether a live process of the session is left: /proc/PID/stat, proc(5)."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] not in b"ZX":
                return True
    return False


def _print_mark(mark: str) -> None:
    try:
        mode = termios.tcgetattr(0)
        # Output that the user has stopped (^S) would stop the mark as well; without IXON it goes on: n_tty(4).
        mode[0] &= ~termios.IXON
        termios.tcsetattr(0, termios.TCSANOW, mode)
        data = mark_bytes(mark)
        while data:
            data = data[os.write(0, data) :]
    except (OSError, termios.error):
        pass  # the window is gone


def mark_bytes(mark: str) -> bytes:
    """Return what is printed at the end: CAN, which ends any sequence, and a string that terminals ignore."""
    return f"\x18\x1b]7771;{mark}\x07".encode()


def main() -> None:
    """Start the program, wait for it, and stay until killed."""
    path, status_file, mark = sys.argv[1:]
    link = socket(AF_UNIX, SOCK_STREAM)
    link.connect(path)
    program = json.loads(_receive(link, int.from_bytes(_receive(link, 4), "big")))
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    _prepare_terminal(program)
    # The leader of a session gives its terminal up for the whole session; the hang-up it gets for that is ignored.
    fcntl.ioctl(0, termios.TIOCNOTTY)
    pid = os.fork()
    if pid == 0:
        _become(link, program)
    link.sendall(f"P {pid}\n".encode())
    _let_go()
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    status = f"{'exit' if ended.si_code == os.CLD_EXITED else 'signal'} {ended.si_status}\n"
    _note(status_file, status)
    os.waitpid(pid, 0)
    delay = 0.01
    while _others_in_session(pid):
        time.sleep(delay)
        delay = min(2 * delay, 0.5)
    _print_mark(mark)
    _note(status_file, status + "end\n")
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
