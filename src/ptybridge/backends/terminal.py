"""What can be asked of a terminal through its pty descriptor: size, mode, foreground group, flow.

All of it is non-blocking, and answers None (or does nothing) once the terminal has ended.
"""

import contextlib
import fcntl
import os
import select
import struct
import termios
from typing import Final

from ptybridge.core.child import LineMode
from ptybridge.core.lineedit import LineKeys
from ptybridge.model import WindowSize

# asm-generic/ioctls.h: open the child's side of a pty without a path, so that no mount namespace matters.
_TIOCGPTPEER: Final = getattr(termios, "TIOCGPTPEER", 0x5441)
_IFLAG: Final = 0
_LFLAG: Final = 3
_CC: Final = 6
# asm-generic/termbits.h; Python has no name for it before 3.13.
_IUTF8: Final = 0x4000


def set_size(fd: int, size: WindowSize) -> None:
    """Set the size; the kernel sends SIGWINCH to the foreground group if it has changed."""
    if fd < 0:
        return
    with contextlib.suppress(OSError):  # the last process is gone: EIO
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.cols, 0, 0))


def line_mode(fd: int) -> LineMode | None:
    """Return the line discipline's state."""
    if fd < 0:
        return None
    try:
        flags = termios.tcgetattr(fd)[_LFLAG]
    except termios.error:
        return None
    return LineMode(
        canonical=bool(flags & termios.ICANON), echo=bool(flags & termios.ECHO), flow_stopped=_flow_stopped(fd)
    )


def line_keys(fd: int) -> LineKeys | None:
    """Return what has an effect in line mode: termios(3), and drivers/tty/n_tty.c for the order. None outside of it."""
    if fd < 0:
        return None
    try:
        attributes = termios.tcgetattr(fd)
    except termios.error:
        return None
    inputs, local, characters = attributes[_IFLAG], attributes[_LFLAG], attributes[_CC]
    if not local & termios.ICANON:
        return None

    def keys(flag: int, *numbers: int) -> bytes:
        found = b"".join(characters[number] for number in numbers) if flag else b""
        # NUL is how Linux spells _POSIX_VDISABLE.
        return found.replace(b"\0", b"")

    extended = local & termios.IEXTEN
    signals = keys(local & termios.ISIG, termios.VINTR, termios.VQUIT, termios.VSUSP)
    swallowed = keys(inputs & termios.IXON, termios.VSTART, termios.VSTOP)
    swallowed += keys(extended and local & termios.ECHO, termios.VREPRINT)
    newlines = b"" if inputs & termios.INLCR else b"\n"
    if inputs & termios.IGNCR:
        swallowed += b"\r"
    elif inputs & termios.ICRNL:
        newlines += b"\r"
    return LineKeys(
        ends=newlines + keys(1, termios.VEOF, termios.VEOL) + keys(extended, termios.VEOL2),
        flushes=b"" if local & termios.NOFLSH else signals,
        swallowed=swallowed + signals if local & termios.NOFLSH else swallowed,
        erase=keys(1, termios.VERASE),
        erase_word=keys(extended, termios.VWERASE),
        kill=keys(1, termios.VKILL),
        literal=keys(extended, termios.VLNEXT),
        utf8=bool(inputs & _IUTF8),
    )


def eof_character(fd: int) -> bytes:
    """Return what ends input on this terminal, b"" if its program has switched that off."""
    try:
        character = termios.tcgetattr(fd)[_CC][termios.VEOF]
    except termios.error:
        return b""
    # NUL is how Linux spells _POSIX_VDISABLE.
    return character if isinstance(character, bytes) and character != b"\0" else b""


def foreground_pgid(fd: int) -> int | None:
    """Return the foreground process group, None if there is none any more."""
    try:
        return os.tcgetpgrp(fd) or None
    except OSError:
        return None


def _flow_stopped(fd: int) -> bool:
    # Linux has no question for "is output stopped (^S)?", but a stopped pty has no room for output while nothing
    # waits to be read from it (pty_write_room in drivers/tty/pty.c), and that can be polled on the child's side.
    # Opening it for a moment is harmless: an end of output is seen again when it is closed.
    # A terminal may be opened by nobody else (TIOCEXCL): then it is not known, and "no" is the usual answer.
    try:
        peer = fcntl.ioctl(fd, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        poll = select.poll()
        poll.register(peer, select.POLLOUT)
        if poll.poll(0):
            return False
        (unread,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
        return bool(unread == 0)
    finally:
        os.close(peer)
