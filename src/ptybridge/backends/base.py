"""What all children that are processes have in common, whoever reads their output: signals, waiting, survivors."""

from ptybridge.backends.process import ChildProcess
from ptybridge.model import ExitStatus


class ProcessBacked:
    """The part of `core.child.Child` that asks the process."""

    def __init__(self, process: ChildProcess) -> None:
        self.pid = self.pgid = process.pid
        self._process = process

    def foreground_pgid(self) -> int | None:
        """Return the terminal's foreground process group; None without a terminal."""
        return None

    def signal(self, number: int, *, whole_session: bool) -> None:
        """Signal the foreground group (the child's own group when there is none), or the whole session."""
        if whole_session:
            self._process.signal_session(number)
        else:
            self._process.signal_group(self.foreground_pgid() or self.pgid, number)

    def survivors(self, not_older_than: float = 0.0) -> list[int]:
        """Return the live processes of the session."""
        return self._process.survivors(not_older_than)

    async def wait(self) -> ExitStatus:
        """Wait for the exit status."""
        return await self._process.wait()

    def discard(self) -> None:
        """Do nothing: nobody else keeps the child."""
