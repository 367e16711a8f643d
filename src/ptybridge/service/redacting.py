"""Takes known secrets out of everything AI agents get from the daemon: answers and streams of all operations.

Texts are searched wherever they are in an answer. Where an answer is a part of the transcript, what lies around it is
looked at, too, so that a secret that two reads share is found; and `session.read` does not give out what may be the
beginning of one until more has come. Offsets stay those of the transcript. Only values that were given by
`secret.provide` are taken out here, not what looks like a credential: agents work with files that are full of that.
"""

import base64
import binascii
from typing import Any, Final

import msgspec

from ptybridge.api import attach as attach_api
from ptybridge.api import terminal as terminal_api
from ptybridge.core.redaction import MAX_SECRET_BYTES, MIN_SECRET_BYTES, marked, redact, scan
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions
from ptybridge.errors import SessionNotFound
from ptybridge.model import Caller
from ptybridge.service.facts import position_key

# How far around a piece of output is looked; escape sequences may lie between a secret's characters.
AROUND_BYTES: Final = 2 * MAX_SECRET_BYTES
AGENT: Final = "mcp"


class Redaction:
    """The dispatcher's last step."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def answer(self, caller: Caller, params: msgspec.Struct, answer: msgspec.Struct) -> msgspec.Struct:
        """Return what the caller may see of an answer."""
        values = self._sessions.secrets.values
        if caller.profile != AGENT or not values:
            return answer
        if isinstance(answer, terminal_api.Output) and isinstance(params, terminal_api.Read):
            answer = self._held(caller, params, self._output(params.session_id, answer, params.stream))
        elif isinstance(answer, terminal_api.ReadUntilResult) and isinstance(params, terminal_api.ReadUntil):
            answer = answer if params.plain else self._output(params.session_id, answer, None)
        clean: msgspec.Struct = _without(answer, values)
        return clean

    def sink(self, caller: Caller, params: msgspec.Struct, sink: Any) -> Any:
        """Return a sink that redacts, for those who must not see everything."""
        return _Sink(self, caller, params, sink) if caller.profile == AGENT else sink

    def event(self, params: msgspec.Struct, event: msgspec.Struct) -> msgspec.Struct:
        """Return what an agent may see of a stream's event."""
        values = self._sessions.secrets.values
        if not values:
            return event
        if isinstance(event, attach_api.OutputEvent) and isinstance(params, attach_api.Follow):
            event = self._output(params.session_id, event, event.stream)
        clean: msgspec.Struct = _without(event, values)
        return clean

    def _session(self, session_id: str) -> Session | None:
        try:
            return self._sessions.get(session_id)
        except SessionNotFound:
            return None  # closed meanwhile; the text itself is looked at all the same

    def _output(self, session_id: str, answer: Any, stream: str | None) -> Any:
        """Redact a piece of the transcript with what is around it; `answer` has data, encoding and offsets."""
        session = self._session(session_id)
        if session is None or stream is not None or not answer.data:
            return answer
        first = max(session.log.start, answer.offset - AROUND_BYTES)
        at, around = session.log.read(first, answer.next_offset + AROUND_BYTES - first)
        begin, end = answer.offset - at, answer.next_offset - at
        if begin < 0:
            return answer  # overwritten meanwhile
        spans = scan(around, self._sessions.secrets.values, forms=False).spans
        if not any(last > begin and start < end for start, last in spans):
            return answer
        data = marked(around, spans, begin, end)
        text = base64.b64encode(data).decode() if answer.encoding == "base64" else data.decode("utf-8", "replace")
        return msgspec.structs.replace(answer, data=text)

    def _held(self, caller: Caller, params: terminal_api.Read, answer: terminal_api.Output) -> terminal_api.Output:
        """Do not give out the beginning of a secret whose rest is still to come."""
        session = self._session(params.session_id)
        if session is None or params.stream is not None or answer.eof:
            return answer
        first = max(session.log.start, answer.offset - AROUND_BYTES, session.log.end - 2 * AROUND_BYTES)
        at, around = session.log.read(first, session.log.end - first)
        found = scan(around, self._sessions.secrets.values, forms=False)
        held_from = at + found.open_from
        short = len(around) - found.open_from < MIN_SECRET_BYTES
        begin, end = answer.offset - at, max(answer.offset, held_from) - at
        if short or held_from >= answer.next_offset or begin < 0:
            return answer
        data = marked(around, found.spans, begin, end)
        text = base64.b64encode(data).decode() if answer.encoding == "base64" else data.decode("utf-8", "replace")
        if params.offset is None:
            session.move(position_key(caller, params.client_id, params.stream), at + end)
        return msgspec.structs.replace(answer, data=text, next_offset=at + end)


class _Sink:
    """A stream's receiver behind the redaction."""

    def __init__(self, redaction: Redaction, caller: Caller, params: msgspec.Struct, sink: Any) -> None:
        self._redaction = redaction
        self._caller = caller
        self._params = params
        self._sink = sink

    async def opened(self, answer: msgspec.Struct) -> None:
        """Pass on the opening answer."""
        await self._sink.opened(self._redaction.answer(self._caller, self._params, answer))

    async def send(self, event: msgspec.Struct) -> None:
        """Pass on an event."""
        await self._sink.send(self._redaction.event(self._params, event))


def _without(answer: Any, values: tuple[bytes, ...]) -> Any:
    """Return an answer whose texts have no known secret, to any depth."""
    match answer:
        case str():
            return _text(answer, values)
        case list() if all(isinstance(one, str) for one in answer):
            return _lines(answer, values)
        case list():
            return [_without(one, values) for one in answer]
        case dict():
            return {name: _without(one, values) for name, one in answer.items()}
        case msgspec.Struct():
            changed = {}
            encoded = getattr(answer, "encoding", None) == "base64"
            for name in answer.__struct_fields__:
                old = getattr(answer, name)
                new = _base64(old, values) if encoded and name in _ENCODED else _without(old, values)
                if new is not old and new != old:
                    changed[name] = new
            return msgspec.structs.replace(answer, **changed) if changed else answer
    return answer


# The fields whose encoding an answer's `encoding` tells.
_ENCODED: Final = frozenset({"data", "stdout", "stderr"})


def _text(text: str, values: tuple[bytes, ...]) -> str:
    data = text.encode("utf-8", "surrogatepass")
    clean = redact(data, values, forms=False)
    return text if clean == data else clean.decode("utf-8", "surrogatepass")


def _base64(text: object, values: tuple[bytes, ...]) -> object:
    if not isinstance(text, str):
        return text
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        return text
    return base64.b64encode(redact(data, values, forms=False)).decode("ascii")


def _lines(lines: list[str], values: tuple[bytes, ...]) -> list[str]:
    """Redact a screen's lines: what the terminal's width has broken up goes on in the next one."""
    pieces = [line.encode("utf-8", "surrogatepass") for line in lines]
    whole = b"\n".join(pieces)
    spans = scan(whole, values, forms=False).spans
    if not spans:
        return lines
    clean, at = [], 0
    for piece in pieces:
        clean.append(marked(whole, spans, at, at + len(piece)).decode("utf-8", "replace"))
        at += len(piece) + 1
    return clean
