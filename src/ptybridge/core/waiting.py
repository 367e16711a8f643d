"""Waiting on a session: for a pattern, an exit, silence, a text on the screen. Every wait ends with its reason.

How it works: one task, one reader. Each turn looks at every condition and then sleeps until the transcript grows, the
child exits or the next deadline is due, whichever is first; so a wait never polls and never hangs.
"""

import math
from collections.abc import Callable
from typing import Literal

import msgspec
import trio

from ptybridge.core.matching import Match, Matcher, compile_patterns
from ptybridge.core.session import Session

READ_BYTES = 64 * 1024

Reason = Literal["matched", "exited", "idle", "screen", "command_done", "needs_input", "timeout", "gap"]
# Whether a program reads its terminal cannot be waited for, only looked at.
LOOK_SECONDS = 0.25


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One condition; the contract sees to it that exactly one is set. `command_done`: its prompt lies behind it."""

    exit: bool = False
    matcher: Matcher | None = None
    idle: float | None = None
    screen: str | None = None
    command_done: int | None = None
    needs_input: Callable[[], bool] | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Why a wait ended. `index` is the condition that held, `offset` where: a match's end, else the log's end."""

    reason: Reason
    index: int | None
    offset: int
    match: Match | None = None
    gap_from: int | None = None


class _Turn:
    """The state of one wait."""

    def __init__(self, session: Session, wanted: list[Wanted], offset: int, timeout: float | None) -> None:
        self.session = session
        self.wanted = wanted
        self.started_at = trio.current_time()
        self.deadline = math.inf if timeout is None else self.started_at + timeout
        self.reader = session.log.reader(offset)
        self.matchers = [(index, one.matcher) for index, one in enumerate(wanted) if one.matcher is not None]
        self.screen_seen = -1

    def feed(self) -> Outcome | None:
        """Give the next piece of output to the patterns; None when nothing came of it."""
        if not self.matchers:
            self.reader.offset = self.session.log.end  # nobody looks at the bytes, so none can be missed
            return None
        expected = self.reader.offset
        offset, data = self.reader.take(READ_BYTES)
        if offset > expected:
            return Outcome(reason="gap", index=None, offset=offset, gap_from=expected)
        best: tuple[int, int, Match] | None = None
        for index, matcher in self.matchers:
            match = matcher.feed(offset, data) if data else None
            if match is not None and (best is None or match.start_offset < best[0]):
                best = (match.start_offset, index, match)
        if best is None:
            return None
        return Outcome(reason="matched", index=best[1], offset=best[2].end_offset, match=best[2])

    async def look(self) -> Outcome | None:
        """Check everything but patterns."""
        session, log = self.session, self.session.log
        end = log.end  # as it is before the screen is caught up: what comes during that is for the next turn
        for index, one in enumerate(self.wanted):
            if one.screen is not None and self.screen_seen != end:
                await session.follower.catch_up()
                if any(one.screen in line for line in session.follower.screen.lines("text")):
                    return Outcome(reason="screen", index=index, offset=log.end)
            if one.idle is not None and self.idle_left(one.idle) <= 0:
                return Outcome(reason="idle", index=index, offset=log.end)
            if one.command_done is not None and self.command_done(one.command_done):
                return Outcome(reason="command_done", index=index, offset=session.commands.prompt_offset)
            if one.needs_input is not None and one.needs_input():
                return Outcome(reason="needs_input", index=index, offset=log.end)
        self.screen_seen = end
        # Output that came while the screen was caught up may still hold a match.
        if session.exited.is_set() and self.reader.behind <= 0:
            for index, one in enumerate(self.wanted):
                if one.exit:
                    return Outcome(reason="exited", index=index, offset=log.end)
            if log.closed:
                return Outcome(reason="exited", index=None, offset=log.end)
        return None

    def floor(self) -> int | None:
        """What the patterns have not seen yet the program of a pausing session must not overwrite."""
        return self.reader.offset if self.matchers and self.session.limits.overflow == "pause" else None

    def idle_left(self, idle: float) -> float:
        return max(self.session.log.grew_at, self.started_at) + idle - trio.current_time()

    def command_done(self, behind: int) -> bool:
        """Whether a trusted prompt behind an offset shows, so that nothing runs."""
        commands = self.session.commands
        commands.catch_up()
        return commands.at_prompt and commands.shown_offset > behind

    def next_deadline(self) -> float:
        idle = [self.idle_left(one.idle) + trio.current_time() for one in self.wanted if one.idle is not None]
        looks = [trio.current_time() + LOOK_SECONDS for one in self.wanted if one.needs_input is not None]
        return min([self.deadline, *idle, *looks])


async def wait_any(
    session: Session,
    wanted: list[Wanted],
    offset: int,
    timeout: float | None,  # noqa: ASYNC109 - how long it took is part of the answer
) -> Outcome:
    """Wait until one of `wanted` holds; patterns are looked for from `offset`. Always a checkpoint.

    A gap already there at `offset` is skipped; one that opens during the wait ends it. When the output is closed and
    nothing can hold any more, the reason is `exited`.
    """
    turn = _Turn(session, wanted, max(offset, session.log.start), timeout)
    session.log.add_floor(turn.floor)
    try:
        return await _wait(turn)
    finally:
        session.log.remove_floor(turn.floor)


async def _wait(turn: _Turn) -> Outcome:
    session = turn.session
    while True:
        while turn.reader.behind > 0:
            outcome = turn.feed()
            session.log.floor_moved()
            if outcome is not None:
                await trio.lowlevel.checkpoint()
                return outcome
            if turn.reader.behind > 0:
                await trio.lowlevel.checkpoint()
        outcome = await turn.look()
        if outcome is not None:
            await trio.lowlevel.checkpoint()
            return outcome
        if trio.current_time() >= turn.deadline:
            return Outcome(reason="timeout", index=None, offset=session.log.end)
        with trio.move_on_at(turn.next_deadline()):
            await turn.reader.wait()


def patterns(pattern: str | list[str], *, regex: bool, plain: bool = False) -> Wanted:
    """Return the condition "one of these patterns appears". Raises `InvalidParams` for a bad expression."""
    return Wanted(matcher=compile_patterns(pattern, regex=regex, plain=plain))
