"""The backends whose children live and die with the daemon, ready to be handed to `Sessions`."""

from collections.abc import Awaitable, Callable

from ptybridge.backends import pipes, pty
from ptybridge.backends.pace import Pace
from ptybridge.core.child import Child, ChildSpec
from ptybridge.core.transcript import Transcript


def spawners() -> dict[str, Callable[[ChildSpec], Awaitable[tuple[Child, Transcript]]]]:
    """Return backend names with what spawns a child and its transcript; all share one pace."""
    pace = Pace()

    async def spawn_pty(spec: ChildSpec) -> tuple[Child, Transcript]:
        return await pty.spawn(spec, pace), pty.new_transcript(spec)

    async def spawn_pipes(spec: ChildSpec) -> tuple[Child, Transcript]:
        return await pipes.spawn(spec, pace), pipes.new_transcript(spec)

    return {"pty": spawn_pty, "pipes": spawn_pipes}
