"""Ending a session's processes: hang-up, then terminate, then kill, each to the whole session, a grace apart.

A stopped job cannot act on a signal, so each step continues it as well. What survives even SIGKILL sits in
uninterruptible sleep and is reported.
"""

import signal

import msgspec
import trio

from ptybridge.core.session import Session
from ptybridge.model import ExitReason

LADDER = (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL)
POLL_SECONDS = 0.01
# After SIGKILL only the kernel can be slow.
KILL_SECONDS = 2.0


class Ended(msgspec.Struct, frozen=True):
    """What it took."""

    signals: list[str]
    survivors: list[int]


async def end(session: Session, reason: ExitReason, grace: float) -> Ended:
    """End everything in the session; returns once its exit is published or nothing more can be done."""
    sent: list[str] = []
    survivors = await _survivors(session)
    for step in LADDER:
        if not survivors:
            break
        if session.ending is None and not session.exited.is_set():
            session.ending = reason
        session.child.signal(step, whole_session=True)
        if step is not signal.SIGKILL:
            session.child.signal(signal.SIGCONT, whole_session=True)
        sent.append(step.name)
        survivors = await _wait_until_gone(session, KILL_SECONDS if step is signal.SIGKILL else grace)
    if not survivors:
        with trio.move_on_after(KILL_SECONDS):
            await session.exited.wait()
    return Ended(sent, survivors)


async def _wait_until_gone(session: Session, seconds: float) -> list[int]:
    """Wait at most so long until no process is left; return those that are."""
    deadline = trio.current_time() + seconds
    while (survivors := await _survivors(session)) and trio.current_time() < deadline:  # noqa: ASYNC110
        await trio.sleep(POLL_SECONDS)  # processes that are not ours announce nothing
    return survivors


async def _survivors(session: Session) -> list[int]:
    """Return who lives. That nobody does takes a count of all processes, which those who end at one time share."""
    asked_at = trio.current_time()
    if found := session.child.survivors(KILL_SECONDS):
        return found
    await trio.sleep(POLL_SECONDS)
    return session.child.survivors(trio.current_time() - asked_at)
