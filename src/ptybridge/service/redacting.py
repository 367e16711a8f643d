"""Takes known secrets out of everything AI agents get from the daemon: answers and streams of all operations.

Texts are searched wherever they are in an answer. Where an answer is a part of the transcript, what lies around it is
looked at, too, so that a secret that two reads share is found; and `session.read` does not give out what may be the
beginning of one until more has come; streams neither. Where a limit has cut a text, the part of a secret that is left
of it is taken out. Offsets stay those of the transcript. Only values that were given by `secret.provide` are taken out
here, not what looks like a credential: agents work with files that are full of that. Channels are raw bytes, which
nothing can be taken out of, so agents get none.
"""

import base64
from typing import Any, Final

import msgspec

from ptybridge.api import attach as attach_api
from ptybridge.api import terminal as terminal_api
from ptybridge.core.redaction import MAX_SECRET_BYTES, MIN_SECRET_BYTES, marked, scan
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions
from ptybridge.errors import Denied, SessionNotFound
from ptybridge.model import Caller
from ptybridge.service.facts import position_key
from ptybridge.service.redactedstream import RedactedSink
from ptybridge.service.without import without

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
        clean: msgspec.Struct = without(answer, values)
        return clean

    def sink(self, caller: Caller, params: msgspec.Struct, sink: Any) -> Any:
        """Return a sink that redacts, for those who must not see everything."""
        if caller.profile != AGENT:
            return sink
        followed = self._session(params.session_id) if isinstance(params, attach_api.Follow) else None
        return RedactedSink(sink, self._sessions.secrets, followed)

    def channel(self, caller: Caller, operation: str) -> None:
        """Refuse a channel to those who must not see everything. Raises `Denied`."""
        if caller.profile == AGENT:
            raise Denied(
                f"{operation} is not for AI agents: nothing judges or redacts the bytes of a channel",
                hint="use operations that answer, as session.read and session.write",
            )

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
