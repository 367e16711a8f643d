"""The part of ptyprocess 0.7 that ptybridge uses; the package ships no types."""

from collections.abc import Callable, Mapping, Sequence
from typing import Self

class PtyProcessError(Exception): ...

class PtyProcess:
    pid: int
    fd: int
    argv: Sequence[str]
    closed: bool
    terminated: bool
    exitstatus: int | None
    signalstatus: int | None
    status: int | None
    delayafterclose: float
    delayafterterminate: float

    def __init__(self, pid: int, fd: int) -> None: ...
    @classmethod
    def spawn(
        cls,
        argv: Sequence[str],
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        echo: bool = True,
        preexec_fn: Callable[[], None] | None = None,
        dimensions: tuple[int, int] = (24, 80),
        pass_fds: Sequence[int] = (),
    ) -> Self: ...
    def fileno(self) -> int: ...
    def isalive(self) -> bool: ...
    def wait(self) -> int: ...
    def close(self, force: bool = True) -> None: ...
    def setwinsize(self, rows: int, cols: int) -> None: ...
    def getwinsize(self) -> tuple[int, int]: ...
