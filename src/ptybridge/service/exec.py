"""Handlers that run one program to its end: each is a session for as long as it takes."""

import math
from typing import Final, Literal

import trio

from ptybridge.api import exec as api
from ptybridge.api.endpoint import EventSink
from ptybridge.core import closing, execution
from ptybridge.core.labels import Labels
from ptybridge.core.limits import Limits
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions, SessionSpec
from ptybridge.core.text import Utf8Cutter
from ptybridge.model import Caller, Encoding, ExitStatus, WindowSize
from ptybridge.service.dispatcher import handles
from ptybridge.service.facts import seconds
from ptybridge.service.follow import Following
from ptybridge.service.guard import Guard, home_of
from ptybridge.service.terminal import decode, encode, without_torn_head

# What a client finds in the list while a program runs, or after it was handed over.
TAG: Final = "exec"


class ExecService:
    """Programs run to their end."""

    def __init__(self, sessions: Sessions, guard: Guard) -> None:
        self._sessions = sessions
        self._guard = guard

    @handles(api.RUN)
    async def run(self, caller: Caller, params: api.Run) -> api.RunResult:
        """Run one and answer when it is done."""
        stdin = _stdin(params)
        session = await self._start(caller, params, "exec.run", stdin)
        ran = await execution.run(
            self._sessions,
            session,
            stdin=stdin,
            max_bytes=params.max_output_bytes,
            within=seconds(params.timeout_ms),
            keep=params.on_timeout == "keep",
        )
        return _result(session, ran, params.encoding)

    @handles(api.STREAM)
    async def stream(self, caller: Caller, params: api.Stream, sink: EventSink) -> str:
        """Run one and send its output meanwhile."""
        stdin = _stdin(params)
        session = await self._start(caller, params, "exec.stream", stdin)
        timeout = seconds(params.timeout_ms)
        kept = False
        signals: list[str] = []
        try:
            # What is wrong with the input is an answer like that of a call.
            await execution.feed(session, stdin)
            await sink.opened(api.Streaming(session_id=session.session_id, pid=session.child.pid, offset=0))
            following = Following(session, 0, params.encoding, sink)
            with trio.move_on_after(math.inf if timeout is None else timeout) as limit:
                await following.run(until_exit=True)
            timed_out = limit.cancelled_caught and session.status is None
            kept = timed_out and params.on_timeout == "keep"
            if limit.cancelled_caught and not kept:
                if timed_out:
                    signals = (await closing.end(session, "timeout", execution.GRACE_SECONDS)).signals
                await following.run(until_exit=True)
            status = session.status or ExitStatus()
            left = kept or not session.output_closed
            finished = api.FinishedEvent(
                exit_code=status.code,
                exit_signal=status.signal,
                duration_ms=int((trio.current_time() - session.started_at) * 1000),
                timed_out=timed_out,
                signals=signals,
                session_id=session.session_id if left else None,
            )
            await sink.send(finished)
            return "timeout" if timed_out else "exited"
        finally:
            if not kept:
                with trio.move_on_after(execution.CLEANING_SECONDS, shield=True):
                    await execution.finish(self._sessions, session)

    async def _start(
        self, caller: Caller, params: api.Run | api.Stream, operation: str, stdin: bytes | None
    ) -> Session:
        self._guard.check_spawn(
            caller,
            params.command,
            operation=operation,
            owner=params.owner,
            access=None,
            cwd=params.cwd,
            home=home_of(params.env, params.caller_env),
            given=stdin,
            token=params.confirm_token,
        )
        spec = SessionSpec(
            command=params.command,
            backend="pty" if params.pty else "pipes",
            cwd=params.cwd,
            env=params.env or {},
            caller_env=params.caller_env,
            size=WindowSize(params.rows, params.cols),
        )
        labels = Labels(owner=params.owner, tags=[*params.tags, TAG])
        return await self._sessions.create(spec, labels, Limits(overflow="pause"), caller.principal)


def _stdin(params: api.Run | api.Stream) -> bytes | None:
    return None if params.input is None else decode(params.input, params.input_encoding)


def _result(session: Session, ran: execution.Ran, encoding: Encoding) -> api.RunResult:
    status = session.status or ExitStatus()
    stdout, out_cut, out_lossy = _text(ran.stdout, encoding)
    stderr, err_cut, err_lossy = _text(ran.stderr, encoding)
    truncated: dict[Literal["stdout", "stderr"], api.Cut] = {}
    if out_cut is not None:
        truncated["stdout"] = out_cut
    if err_cut is not None:
        truncated["stderr"] = err_cut
    return api.RunResult(
        exit_code=status.code,
        exit_signal=status.signal,
        stdout=stdout,
        stderr=stderr,
        encoding=encoding,
        lossy=out_lossy or err_lossy,
        truncated=truncated,
        unattributed_bytes=ran.unattributed,
        duration_ms=int(ran.seconds * 1000),
        timed_out=ran.timed_out,
        signals=ran.ended.signals if ran.ended is not None else [],
        session_id=session.session_id if ran.kept else None,
        next_offset=ran.next_offset,
    )


def _text(stream: execution.HeadTail, encoding: Encoding) -> tuple[str, api.Cut | None, bool]:
    """Return what is kept of a stream, how it was cut, and whether it is lossy; text is cut between characters."""
    head, tail = stream.parts()
    cut = None
    if stream.omitted:
        if encoding == "text":
            head = head[: len(head) - Utf8Cutter.split(head, False)[1]]
            tail = without_torn_head(tail)
        cut = api.Cut(head_bytes=len(head), tail_bytes=len(tail), omitted_bytes=stream.total - len(head) - len(tail))
    text, _, lossy = encode(head + tail, encoding, final=True)
    return text, cut, lossy
