"""Handlers that run commands in a session's shell, tell of them, and search what was printed."""

from functools import partial

import trio

from ptybridge.api import command as api
from ptybridge.core import searching
from ptybridge.core.commands import Command
from ptybridge.core.sessions import Sessions
from ptybridge.errors import Busy, CommandNotFound
from ptybridge.model import Caller
from ptybridge.service import authority
from ptybridge.service.dispatcher import handles
from ptybridge.service.guard import Guard
from ptybridge.service.outputs import Collector
from ptybridge.service.runner import Runner, deadline_of

# Searching this much takes some milliseconds; more goes to a thread.
INLINE_BYTES = 64 * 1024


class CommandService:
    """Commands of sessions."""

    def __init__(self, sessions: Sessions, guard: Guard) -> None:
        self._sessions = sessions
        self._guard = guard
        self._threads = trio.CapacityLimiter(2)

    @handles(api.RUN)
    async def run(self, caller: Caller, params: api.RunCommand) -> api.Ran:
        """Run a command."""
        session = self._sessions.get(params.session_id)
        may_write = partial(authority.require, caller, session, "read-write", client_id=params.client_id, writing=True)
        may_write()
        session.require_running()
        self._guard.check_command(caller, session, params.command, token=params.confirm_token)
        deadline = deadline_of(params.timeout_ms)
        got_turn = False
        with trio.move_on_at(deadline):
            await session.commands.turn.acquire()
            got_turn = True
        if not got_turn:
            raise Busy(f"session {session.session_id}: another `command.run` has not ended within the time")
        try:
            return await Runner(self._sessions, session, params, deadline).run(may_write)
        finally:
            session.commands.turn.release()

    @handles(api.LIST)
    def list(self, caller: Caller, params: api.ListCommands) -> api.Commands:
        """List commands."""
        commands = self._sessions.get(params.session_id).commands
        commands.catch_up()
        found = [
            one
            for one in reversed(commands.history)
            if (params.before is None or one.number < params.before)
            and (params.contains is None or params.contains in (one.command or ""))
            and (not params.failed or one.exit_code not in {None, 0})
            and (not params.trusted or one.trusted)
        ]
        return api.Commands(
            commands=[_shown(one) for one in found[: params.limit]],
            more=len(found) > params.limit,
            integration=commands.state,
            untrusted_marks=commands.untrusted_marks,
        )

    @handles(api.GET)
    def get(self, caller: Caller, params: api.GetCommand) -> api.CommandOutput:
        """Get a command and its output."""
        session = self._sessions.get(params.session_id)
        commands = session.commands
        commands.catch_up()
        one = commands.get(params.number)
        if one is None:
            raise CommandNotFound(f"session {session.session_id} has no command {params.number}")
        end = one.output_end if one.output_end is not None else commands.offset
        offset, data = session.log.read(one.output_start, max(0, end - one.output_start))
        collector = Collector(params.max_output_bytes, cleaned=params.clean, cols=session.size.cols)
        collector.feed(data[: max(0, end - offset)])
        output, truncated = collector.result(ended=one.output_end is not None)
        missed = max(0, min(offset, end) - one.output_start)
        return api.CommandOutput(command=_shown(one), output=output, truncated=truncated, missed_bytes=missed)

    @handles(api.SEARCH)
    async def search(self, caller: Caller, params: api.Search) -> api.Found:
        """Search output."""
        session = self._sessions.get(params.session_id)
        wanted = searching.predicate(params.pattern, regex=params.regex, ignore_case=params.ignore_case)
        backward = params.direction == "backward"
        start, data = session.log.read(0, session.log.end)
        begin = params.from_offset if params.from_offset is not None else start + len(data) if backward else start

        def work() -> searching.SearchResult:
            return searching.search(
                data,
                start,
                wanted,
                context=params.context_lines,
                limit=params.max_matches,
                begin=begin,
                backward=backward,
            )

        if len(data) <= INLINE_BYTES:
            result = work()
            await trio.lowlevel.checkpoint()
        else:
            result = await trio.to_thread.run_sync(work, limiter=self._threads)
        return api.Found(
            matches=[
                api.Match(
                    line=one.number,
                    offset=one.offset,
                    end_offset=one.end,
                    text=one.text,
                    before=one.before,
                    after=one.after,
                )
                for one in result.lines
            ],
            more=result.more,
            next_offset=result.next_offset,
            start_offset=start,
            end_offset=start + len(data),
            missed_bytes=max(0, start - begin) if not backward else 0,
        )


def _shown(one: Command) -> api.Command:
    return api.Command(
        number=one.number,
        command=one.command,
        cwd=one.cwd,
        offset=one.offset,
        output_start=one.output_start,
        output_end=one.output_end,
        exit_code=one.exit_code,
        started_at_ms=one.started_at_ms,
        ended_at_ms=one.ended_at_ms,
        trusted=one.trusted,
    )
