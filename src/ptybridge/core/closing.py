"""Ending a session's processes: hang-up, then terminate, then kill, each to the whole session, a grace apart.

A stopped job cannot act on a signal, so each step continues it as well. What survives even SIGKILL sits in
uninterruptible sleep and is reported.

What has left the session (`setsid`) has asked to be left alone: of a person's session it is reported and runs on, as a
terminal server or an agent for keys is meant to. Of an agent's session it is ended, too, since nobody else would.
"""

import signal

import msgspec
import trio

from ptybridge.core.session import Session
from ptybridge.core.strays import Stray, signal_stray, somebody_begins, strays_of
from ptybridge.model import ExitReason

LADDER = (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL)
POLL_SECONDS = 0.01
# After SIGKILL only the kernel can be slow.
KILL_SECONDS = 2.0
# So long those are waited for who are just becoming another program, and whose they are cannot be seen meanwhile.
BEGIN_SECONDS = 0.25


class Ended(msgspec.Struct, frozen=True):
    """What it took, what outlived it, and what had left the session and runs on."""

    signals: list[str]
    survivors: list[int]
    escaped: list[int] = []


async def end(session: Session, reason: ExitReason, grace: float, *, escaped: bool | None = None) -> Ended:
    """End everything in the session; returns once its exit is published or nothing more can be done.

    `escaped`: also what has left the session; if not said, that of agents' sessions only.
    """
    ends_strays = session.labels.profile is not None if escaped is None else escaped
    sent: list[str] = []
    survivors = await _survivors(session)
    strays = await _strays(session, survivors)
    for step in LADDER:
        hunted = strays if ends_strays else []
        if not survivors and not hunted:
            break
        if survivors:
            if session.ending is None and not session.exited.is_set():
                session.ending = reason
            session.child.signal(step, whole_session=True)
            if step is not signal.SIGKILL:
                session.child.signal(signal.SIGCONT, whole_session=True)
            sent.append(step.name)
        _hunt(hunted, step, sent)
        survivors = await _wait_until_gone(session, hunted, KILL_SECONDS if step is signal.SIGKILL else grace)
        strays = _known(await _strays(session, survivors), strays)
    if not survivors:
        with trio.move_on_after(KILL_SECONDS):
            await session.exited.wait()
    return Ended(sent, survivors, [stray.pid for stray in strays])


async def spared(session: Session) -> Ended:
    """Return what an exited session leaves behind when nobody is ended."""
    asked_at = trio.current_time()
    await trio.sleep(POLL_SECONDS)
    survivors = session.child.survivors(trio.current_time() - asked_at)
    return Ended([], survivors, [stray.pid for stray in await _strays(session, survivors)])


def _hunt(strays: list[Stray], step: signal.Signals, sent: list[str]) -> None:
    # Who has no terminal takes a hang-up for "read your configuration again": for them the ladder begins one later.
    number = signal.SIGTERM if step is signal.SIGHUP else step
    for stray in strays:
        signal_stray(stray, number)
        if number is not signal.SIGKILL:
            signal_stray(stray, signal.SIGCONT)
    if strays and number.name not in sent:
        sent.append(number.name)


def _known(found: list[Stray], before: list[Stray]) -> list[Stray]:
    """Return the living strays, also those that were found by parents which are gone by now."""
    return sorted({*found, *(stray for stray in before if stray.alive)}, key=lambda stray: stray.pid)


async def _wait_until_gone(session: Session, strays: list[Stray], seconds: float) -> list[int]:
    """Wait at most so long until no process is left; return those of the session that are."""
    deadline = trio.current_time() + seconds
    while True:
        survivors = await _survivors(session)
        if (not survivors and not any(stray.alive for stray in strays)) or trio.current_time() >= deadline:
            return survivors
        await trio.sleep(POLL_SECONDS)  # processes that are not ours announce nothing


async def _strays(session: Session, survivors: list[int]) -> list[Stray]:
    """Return what has left the session; those who end at one time share the look, which begins after each has asked.

    However long it takes: within a fixed time of it there would be none to share on a busy machine.
    """
    asked_at = trio.current_time()
    await trio.sleep(POLL_SECONDS)
    with trio.move_on_after(BEGIN_SECONDS):
        while somebody_begins(trio.current_time() - asked_at):  # noqa: ASYNC110 - they announce nothing
            await trio.sleep(POLL_SECONDS)
    return strays_of(session.session_id, survivors, trio.current_time() - asked_at)


async def _survivors(session: Session) -> list[int]:
    """Return who lives. That nobody does takes a count of all processes, which those who end at one time share."""
    asked_at = trio.current_time()
    if found := session.child.survivors(KILL_SECONDS):
        return found
    await trio.sleep(POLL_SECONDS)
    return session.child.survivors(trio.current_time() - asked_at)
