"""`?mode=text`: a session for clients that know JSON and nothing of terminals.

How it works: output is the stream `session.follow`, input are the calls `session.write`, `session.resize` and
`session.signal`, made one after the other in the order they came. What is refused is told as a message; the
connection goes on.
"""

from typing import Any, Final

import msgspec
import trio

from ptybridge.api import attach, session, terminal
from ptybridge.api.endpoint import Endpoint
from ptybridge.errors import Denied, InvalidRequest, PtybridgeError
from ptybridge.mistakes import misread
from ptybridge.model import Caller, Offset
from ptybridge.web.ansi import Ansi, Filter
from ptybridge.web.answers import error_body
from ptybridge.web.websocket import NORMAL, WebSocket

# Behind a "newline": what MOP's clients and line-reading programs expect; a terminal in line mode takes it for Enter.
NEWLINE: Final = "\n"


class Size(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A window's size in cells."""

    cols: int
    rows: int


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client says; one of them at a time."""

    stdin: str | None = None
    newline: bool = False
    resize: Size | None = None
    signal: str | None = None


_said = msgspec.json.Decoder(Said)


class TextTalk:
    """One such client."""

    def __init__(
        self,
        endpoint: Endpoint,
        caller: Caller,
        socket: WebSocket,
        session_id: str,
        offset: Offset | None,
        ansi: Ansi,
        writer: bool,
        client_id: str | None,
    ) -> None:
        self._endpoint = endpoint
        self._caller = caller
        self._socket = socket
        self._session_id = session_id
        self._offset = offset
        self._writer = writer
        self._client_id = client_id
        self._filters = {"stdout": Filter(ansi), "stderr": Filter(ansi)}

    async def run(self) -> tuple[int, str]:
        """Talk until the session's output ends or the client leaves; return the close's code and reason."""
        params = {"session_id": self._session_id, "offset": self._offset, "client_id": self._client_id}
        reason = "gone"
        failure: PtybridgeError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, nursery.cancel_scope)
            try:
                reason = await self._endpoint.stream(self._caller, attach.FOLLOW.name, _raw(params), self)
            except PtybridgeError as exc:
                failure = exc
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return NORMAL, reason

    # -- to the client: an `api.endpoint.EventSink` ---------------------------------------------------------

    async def opened(self, answer: msgspec.Struct) -> None:
        """Say where the output begins."""
        await self._say({"attached": answer})

    async def send(self, event: msgspec.Struct) -> None:
        """Say what has happened."""
        match event:
            case attach.OutputEvent(data=data, next_offset=next_offset):
                name = event.stream or "stdout"
                await self._say({name: self._filters[name].feed(data), "next_offset": next_offset})
            case attach.GapEvent(from_offset=start, to_offset=end):
                await self._say({"gap": {"from_offset": start, "to_offset": end}})
            case attach.ResizedEvent(rows=rows, cols=cols):
                await self._say({"resized": {"cols": cols, "rows": rows}})
            case attach.ExitedEvent():
                await self._say(
                    {
                        "exit_code": event.exit_code,
                        "exit_signal": event.exit_signal,
                        "exit_reason": event.exit_reason,
                        "end_offset": event.end_offset,
                    }
                )
            case _:
                pass  # that the output of an exited session has ended is said by the close

    async def _say(self, message: dict[str, Any]) -> None:
        await self._socket.send(msgspec.json.encode(message), text=True)

    # -- from the client ------------------------------------------------------------------------------------

    async def _listen(self, scope: trio.CancelScope) -> None:
        while (message := await self._socket.receive()) is not None:
            try:
                await self._take(message)
            except PtybridgeError as exc:
                await self._socket.send(error_body(exc), text=True)
        scope.cancel()

    async def _take(self, message: bytes | str) -> None:
        try:
            said = _said.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise InvalidRequest(
                f"not understood: {misread(exc)}",
                hint='send {"stdin": text}, {"resize": {"cols": 80, "rows": 24}} or {"signal": "INT"}',
            ) from exc
        if not self._writer:
            raise Denied("this connection only reads")
        if said.stdin is not None:
            data = said.stdin + (NEWLINE if said.newline else "")
            written: Any = await self._call(terminal.WRITE.name, data=data)
            if written.queue_position:
                await self._say({"queue_position": written.queue_position})
        elif said.resize is not None:
            await self._call(session.RESIZE.name, cols=said.resize.cols, rows=said.resize.rows)
        elif said.signal is not None:
            await self._call(session.SIGNAL.name, signal=said.signal)
        else:
            raise InvalidRequest("there is nothing in it", hint='send {"stdin": text}')

    async def _call(self, operation: str, **params: Any) -> Any:
        given = {"session_id": self._session_id, "client_id": self._client_id, **params}
        return await self._endpoint.call(self._caller, operation, _raw(given))


def _raw(params: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(params))
