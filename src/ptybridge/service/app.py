"""Asks a program for its page: a line of JSON to its input, and the line that answers it out of its output."""

import secrets
from typing import Annotated, Final, Literal
from weakref import WeakKeyDictionary

import msgspec
import trio

from ptybridge.api import app as api
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions
from ptybridge.errors import Denied, Unavailable
from ptybridge.model import Caller
from ptybridge.service import authority
from ptybridge.service.dispatcher import handles

# A page that is drawn for each request; what is larger is data.
MAX_ANSWER_BYTES: Final = 512 * 1024
CHUNK_BYTES: Final = 64 * 1024


class _Answer(msgspec.Struct, kw_only=True):
    ptybridge: Literal["answer"]
    id: str
    body: str
    head: str = ""
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] = 200
    refresh_ms: Annotated[int, msgspec.Meta(ge=100, le=86_400_000)] | None = None


_answers = msgspec.json.Decoder(_Answer)


class AppService:
    """Pages that programs draw."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        # One request at a time, in the order in which they came.
        self._turns: WeakKeyDictionary[Session, trio.Lock] = WeakKeyDictionary()

    @handles(api.REQUEST)
    async def request(self, caller: Caller, params: api.RequestPage) -> api.Page:
        """Ask for a page."""
        session = self._sessions.get(params.session_id)
        if caller.profile is not None:
            # A shell would run what a path says; nothing judges it here.
            raise Denied("agents ask no program for pages", hint="write with `session.write`")
        authority.require(caller, session, "read-write", client_id=params.client_id, writing=True)
        session.require_running()
        answer: _Answer | None = None
        with trio.move_on_after(params.timeout_ms / 1000):
            async with self._turns.setdefault(session, trio.Lock()):
                authority.require(caller, session, "read-write", client_id=params.client_id, writing=True)
                answer = await _ask(session, params)
        if answer is None:
            raise Unavailable(
                f"the program has not answered within {params.timeout_ms} ms",
                hint="it has to answer each request with a line of JSON on its standard output",
            )
        return api.Page(body=answer.body, head=answer.head, status=answer.status, refresh_ms=answer.refresh_ms)


async def _ask(session: Session, params: api.RequestPage) -> _Answer:
    request = {
        "ptybridge": "request",
        "id": secrets.token_hex(8),
        "path": "/" + params.path.removeprefix("/"),
        "query": params.query,
    }
    offset = session.log.end
    await session.input.write(msgspec.json.encode(request) + b"\n")
    return await _answer(session, offset, str(request["id"]))


async def _answer(session: Session, offset: int, wanted: str) -> _Answer:
    """Return the answer among the lines printed from `offset` on; other lines are the program's own business."""
    line = b""
    while True:
        at, data = session.log.read(offset, CHUNK_BYTES)
        if at > offset:
            raise Unavailable("the program has printed more than is kept before its answer was read")
        if not data:
            if session.log.closed:
                raise Unavailable("the program has ended without an answer")
            await session.log.reader(offset).wait()
            continue
        offset += len(data)
        *lines, line = (line + data).split(b"\n")
        for one in lines:
            if (found := _parsed(one)) is not None and found.id == wanted:
                return found
        if len(line) > MAX_ANSWER_BYTES:
            raise Unavailable(f"the program answers with a line of more than {MAX_ANSWER_BYTES} bytes")


def _parsed(line: bytes) -> _Answer | None:
    if not line.startswith(b"{") or len(line) > MAX_ANSWER_BYTES:
        return None
    try:
        return _answers.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # a line like any other
