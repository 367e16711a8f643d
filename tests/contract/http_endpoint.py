"""HTTP behind the tests' client: each operation at its own route, streams as server-sent events."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Union
from urllib.parse import quote, urlencode

import msgspec
import trio
from tests.contract.endpoints import PATIENCE_SECONDS, Link, R, Stream, StreamEnded
from tests.web.http import Answer, Http, connected

from ptybridge.api.operation import Effect, Operation
from ptybridge.api.registry import contract
from ptybridge.errors import PtybridgeError


class HttpClient:
    """One client with as many connections as it has requests under way. Its name goes along as a header."""

    def __init__(self, address: str, name: str) -> None:
        self._address = address
        self._name = name
        self._stack = AsyncExitStack()
        self._free: list[Http] = []
        self._registry = contract()

    async def call_raw(self, method: str, params: dict[str, Any] | None = None) -> Any:
        http = self._free.pop() if self._free else await self._connect()
        try:
            answer = await http.request(*self._request(method, params or {}))
        except BaseException:
            # Whoever gives up leaves.
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(http.stream)  # noqa: ASYNC102 - it does not wait
            raise
        if http.reusable:
            self._free.append(http)
        return _outcome(answer)

    async def call(self, operation: Operation[Any, R], **params: Any) -> R:
        return msgspec.convert(await self.call_raw(operation.name, params), operation.result)

    @asynccontextmanager
    async def stream(self, operation: Operation[Any, Any], **params: Any) -> AsyncIterator[Stream]:
        async with connected(self._address) as http:
            http.headers.append(("x-connection", self._name))
            await http.send(*self._request(operation.name, params))
            head = await http.head()
            if head.status != 200:
                body = b""
                while piece := await http.chunk():
                    body += piece
                _outcome(Answer(head.status, head.headers, body))
            stream = _HttpStream(operation, http)
            await stream.open()
            yield stream

    def channel(self, operation: Operation[Any, Any], **params: Any) -> AbstractAsyncContextManager[Link]:
        raise NotImplementedError("channels are WebSockets over HTTP, which have tests of their own")

    def attach(self, **params: Any) -> AbstractAsyncContextManager[Link]:
        raise NotImplementedError("terminals are WebSockets over HTTP, which have tests of their own")

    async def aclose(self) -> None:
        await self._stack.aclose()

    async def _connect(self) -> Http:
        http = await self._stack.enter_async_context(connected(self._address))
        http.headers.append(("x-connection", self._name))
        return http

    def _request(self, method: str, params: dict[str, Any]) -> tuple[str, str, list[tuple[str, str]], bytes]:
        """Return the request of an operation; what has no route, or cannot fill it, goes by its name."""
        try:
            operation = self._registry[method]
        except PtybridgeError:
            operation = None
        verb, _, path = (operation.http or "" if operation is not None else "").partition(" ")
        needed = re.findall(r"{(\w+)}", path)
        if not verb or any(not isinstance(params.get(name), str | int) or params[name] == "" for name in needed):
            verb, path, needed = "POST", f"/v1/call/{quote(method, safe='')}", []
        rest = {name: value for name, value in params.items() if name not in needed}
        path = re.sub(r"{(\w+)}", lambda found: quote(str(params[found[1]]), safe=""), path)
        if verb == "GET" and operation is not None and operation.effect is Effect.READS:
            pairs = [
                (name, _text(one))
                for name, value in rest.items()
                if value is not None
                for one in (value if isinstance(value, list) else [value])
            ]
            return verb, f"{path}?{urlencode(pairs)}" if pairs else path, [], b""
        return verb, path, [("content-type", "application/json")], msgspec.json.encode(rest)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _outcome(answer: Answer) -> Any:
    body = answer.json()
    if answer.status == 200:
        return body
    raise _restored(body["error"])


def _restored(error: dict[str, Any]) -> PtybridgeError:
    told = {name: error[name] for name in ("code", "hint", "retryable")}
    return PtybridgeError.restore(error["message"], {**told, **error["data"]})


class _HttpStream:
    def __init__(self, operation: Operation[Any, Any], http: Http) -> None:
        self.opened: Any = None
        self._http = http
        self._operation = operation
        self._decoder = msgspec.json.Decoder(Union[operation.events])  # noqa: UP007 - made at run time
        self._text = b""

    async def open(self) -> None:
        kind, data = await self._event()
        assert kind == "opened"
        self.opened = msgspec.json.decode(data, type=self._operation.result)

    async def next(self) -> Any:
        with trio.fail_after(PATIENCE_SECONDS):
            kind, data = await self._event()
        if kind != "end":
            return self._decoder.decode(data)
        ending = msgspec.json.decode(data)
        if "error" in ending:
            raise _restored(ending["error"])
        raise StreamEnded(ending["reason"])

    async def _event(self) -> tuple[str, bytes]:
        while True:
            while b"\n\n" not in self._text:
                self._text += await self._http.chunk()
            block, _, self._text = self._text.partition(b"\n\n")
            fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":"))
            if b"event" in fields:
                return fields[b"event"].decode(), fields[b"data"]
