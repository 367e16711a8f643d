"""A small HTTP/1.1 client over trio and h11: whole answers, answers as they come, and bytes as one likes."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import h11
import msgspec
import trio

# Generous: only a hang should ever reach it.
PATIENCE_SECONDS = 60.0
Headers = list[tuple[str, str]]


class Answer(msgspec.Struct, frozen=True):
    """A response; `headers` are lower case, the last of a name counts."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Http:
    """One connection. Requests on it follow each other."""

    def __init__(self, stream: trio.abc.Stream, host: str) -> None:
        self.stream = stream
        self.host = host
        self.headers: Headers = []
        self._connection = h11.Connection(h11.CLIENT)

    @property
    def reusable(self) -> bool:
        """Whether another request can follow."""
        return self._connection.our_state is h11.IDLE

    async def send(self, method: str, path: str, headers: Headers | None = None, body: bytes = b"") -> None:
        """Send a request and do not wait for its answer."""
        own = [("host", self.host), *self.headers, *(headers or [])]
        if body or method in {"POST", "PUT", "PATCH"}:
            own.append(("content-length", str(len(body))))
        data = self._connection.send(h11.Request(method=method, target=path, headers=own)) or b""
        if body:
            data += self._connection.send(h11.Data(data=body)) or b""
        data += self._connection.send(h11.EndOfMessage()) or b""
        await self.stream.send_all(data)

    async def event(self) -> Any:
        """Return h11's next event."""
        with trio.fail_after(PATIENCE_SECONDS):
            while (event := self._connection.next_event()) is h11.NEED_DATA:
                self._connection.receive_data(bytes(await self.stream.receive_some(65536)))
        return event

    async def head(self) -> Answer:
        """Wait for the head of the answer."""
        event = await self.event()
        assert isinstance(event, h11.Response), event
        return Answer(event.status_code, {k.decode(): v.decode() for k, v in event.headers})

    async def chunk(self) -> bytes:
        """Return the next piece of the answer's body, b"" at its end."""
        event = await self.event()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        assert isinstance(event, h11.EndOfMessage), event
        if self._connection.our_state is h11.DONE and self._connection.their_state is h11.DONE:
            self._connection.start_next_cycle()
        return b""

    async def request(
        self, method: str, path: str, headers: Headers | None = None, body: bytes = b"", json: object = None
    ) -> Answer:
        """Send a request and return the whole answer."""
        headers = list(headers or [])
        if json is not None:
            headers.append(("content-type", "application/json"))
            body = msgspec.json.encode(json)
        await self.send(method, path, headers, body)
        head = await self.head()
        parts = []
        while part := await self.chunk():
            parts.append(part)
        return Answer(head.status, head.headers, b"".join(parts))

    async def get(self, path: str, headers: Headers | None = None) -> Answer:
        return await self.request("GET", path, headers)

    async def post(self, path: str, json: object = None, headers: Headers | None = None) -> Answer:
        return await self.request("POST", path, headers, json={} if json is None else json)


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Http]:
    """Connect to an address of `WebFront.addresses`."""
    stream: trio.SocketStream
    if address.startswith("unix:"):
        stream = await trio.open_unix_socket(address.removeprefix("unix:"))
        host = "localhost"
    else:
        name, _, port = address.rpartition(":")
        stream = await trio.open_tcp_stream(name.strip("[]"), int(port))
        host = address
    async with stream:
        yield Http(stream, host)


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds."""
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            if condition():
                return
            await trio.sleep(0.01)


async def is_refused(address: str) -> bool:
    """Tell whether nobody listens there."""
    name, _, port = address.rpartition(":")
    family = socket.AF_INET6 if name.startswith("[") else socket.AF_INET
    with trio.socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            await probe.connect((name.strip("[]"), int(port)))
        except ConnectionRefusedError:
            return True
    return False
