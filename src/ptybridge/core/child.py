"""What a backend must offer: a `Child` — a running program whose output goes into a transcript.

How it works: the session's nursery runs `pump` (child → transcript, the only writer of the log) beside `wait`
(the exit status) and feeds input through `send_some`. End of output and exit are separate facts, because
grandchildren may hold the terminal; so `pump` returning and `wait` returning come in any order.
"""

from typing import Protocol

import msgspec

from ptybridge.core.lineedit import LineKeys
from ptybridge.core.memory import Notebook
from ptybridge.core.transcript import Transcript
from ptybridge.model import Backend, ExitStatus, WindowSize


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `argv` is executed as it is; `env` is complete; `cwd` is absolute."""

    argv: list[str]
    cwd: str
    env: dict[str, str]
    size: WindowSize
    echo: bool = True
    capacity: int = 1 << 20
    # For backends that show or keep them outside of the daemon.
    session_id: str = ""
    name: str | None = None
    owner: str | None = None
    workspace: str | None = None


class LineMode(msgspec.Struct, frozen=True):
    """The line discipline's state that matters to a writer: is input cut into lines, and is it echoed?"""

    canonical: bool
    echo: bool
    flow_stopped: bool = False


class Child(Protocol):
    """A spawned program. Owns its descriptors; `aclose` releases them (and never ends the program by itself)."""

    @property
    def backend(self) -> Backend: ...
    @property
    def pid(self) -> int: ...
    @property
    def pgid(self) -> int: ...

    @property
    def notebook(self) -> Notebook | None:
        """Where notes about the session outlive the daemon; None where the child does not outlive it either."""
        ...

    async def pump(self, log: Transcript) -> None:
        """Move output into `log` until the output is closed (not the same as exit). Cancellable at any time."""
        ...

    async def send_some(self, data: memoryview) -> int:
        """Write what fits of `data` to the child's input, waiting for room if there is none; return the count ≥ 1.

        Cancel-safe: a cancelled call has written nothing. Raises `InputClosed` when the child cannot read any more.
        """
        ...

    def send_nowait(self, data: bytes) -> int:
        """Write what fits right now (maybe 0 bytes); the fast path for keystrokes. Raises `InputClosed`."""
        ...

    async def close_input(self) -> None:
        """Half-close: end of file on a pipe; on a terminal the line discipline's EOF character."""
        ...

    def resize(self, size: WindowSize) -> None:
        """Set the terminal's size (SIGWINCH follows). Without a terminal, or after its end, nothing happens."""
        ...

    def signal(self, number: int, *, whole_session: bool) -> None:
        """Signal the foreground process group, or every process of the child's session. Never a recycled pid."""
        ...

    def survivors(self, not_older_than: float = 0.0) -> list[int]:
        """Return the live (non-zombie) processes of the child's session, the child included.

        That nobody is left may be known since `not_older_than` seconds: a count that other sessions can share.
        """
        ...

    def line_keys(self) -> LineKeys | None:
        """Return what has an effect in line mode; None without a terminal, or if it is not in line mode."""
        ...

    def line_mode(self) -> LineMode | None:
        """Return the terminal's mode, None without a terminal (pipes) or after its end."""
        ...

    def foreground_pgid(self) -> int | None:
        """Return the terminal's foreground process group, None without one."""
        ...

    async def wait(self) -> ExitStatus:
        """Wait until the child has exited and is reaped; may be called many times."""
        ...

    def discard(self) -> None:
        """Give the child up for good: whoever keeps it beyond the daemon's life need not any more."""
        ...

    async def aclose(self) -> None:
        """Release descriptors. Afterwards every method but `wait` (if already known), `pid` and `pgid` is illegal."""
        ...
