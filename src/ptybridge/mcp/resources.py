"""Sessions as resources: `ptybridge://session/<id>/screen` and `/transcript`, and who wants to hear of changes.

How it works: one task follows each session that somebody has subscribed to and one follows the coming and going of
sessions. Both only say that something has changed, at most every `DEBOUNCE_SECONDS`; the client reads what it wants
to see. `publish` gets an URI, or None when the list has changed.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import msgspec
import trio

from ptybridge.api import attach, event, session, terminal
from ptybridge.api.endpoint import Endpoint
from ptybridge.errors import NotFound, PtybridgeError
from ptybridge.mcp.untrusted import quoted
from ptybridge.model import Caller
from ptybridge.text import printable

DEBOUNCE_SECONDS: Final = 0.25
# A model reads what it is given; the end of a long transcript is what it is after.
TRANSCRIPT_BYTES: Final = 64 * 1024
TEMPLATES: Final = {
    "screen": "What a session's terminal shows, as text.",
    "transcript": f"The end of what a session has printed ({TRANSCRIPT_BYTES // 1024} KiB at most), as text.",
}
_URI: Final = re.compile(r"ptybridge://session/([A-Za-z0-9_.-]{1,64})/(screen|transcript)")

Publish = Callable[[str | None], Awaitable[None]]


class Listed(NamedTuple):
    """One resource in the list."""

    uri: str
    name: str
    description: str


def uri_of(session_id: str, part: str) -> str:
    """Return a resource's URI."""
    return f"ptybridge://session/{session_id}/{part}"


class Resources:
    """The resources of one connection. `run` must be running for changes to be told."""

    def __init__(self, endpoint: Endpoint, caller: Caller, publish: Publish) -> None:
        self._endpoint = endpoint
        self._caller = caller
        self._publish = publish
        self._wanted: Counter[str] = Counter()
        self._watching: dict[str, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell of changes until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            changes = _Changes(self._publish)
            nursery.start_soon(changes.tell)
            task_status.started()
            await self._follow(event.FOLLOW.name, {"types": ["created", "closed", "updated"]}, changes, None)

    # -- reading --------------------------------------------------------------------------------------------

    async def list(self) -> list[Listed]:
        """Return two resources for each session."""
        found = await self._call(session.LIST.name, {})
        assert isinstance(found, session.Sessions)
        return [
            Listed(uri_of(one.session_id, part), f"{printable(one.name or one.session_id, 60)} {part}", _about(one))
            for one in found.sessions
            for part in TEMPLATES
        ]

    async def read(self, uri: str) -> str:
        """Return a resource's text, cleaned and marked as a program's. Raises `NotFound` and others."""
        session_id, part = _parse(uri)
        if part == "screen":
            picture = await self._call(terminal.SCREEN.name, {"session_id": session_id})
            assert isinstance(picture, terminal.ScreenPicture)
            lines = "\n".join(line.rstrip() for line in picture.lines)
            place = f"{picture.rows} rows, {picture.cols} columns, cursor in row {picture.cursor.row}"
            return quoted(lines, f"screen of session {session_id}: {place}, column {picture.cursor.col}")
        info = await self._call(session.GET.name, {"session_id": session_id})
        assert isinstance(info, session.SessionInfo)
        start = max(info.start_offset, info.end_offset - TRANSCRIPT_BYTES)
        output = await self._call(
            terminal.READ.name, {"session_id": session_id, "offset": start, "max_bytes": TRANSCRIPT_BYTES}
        )
        assert isinstance(output, terminal.Output)
        span = f"bytes {output.offset} to {output.next_offset} of {info.end_offset}"
        return quoted(output.data, f"transcript of session {session_id}: {span}")

    # -- subscriptions --------------------------------------------------------------------------------------

    async def subscribe(self, uri: str) -> None:
        """Begin to tell of changes of a resource. Raises `NotFound`."""
        session_id, _ = _parse(uri)
        info = await self._call(session.GET.name, {"session_id": session_id})
        assert isinstance(info, session.SessionInfo)
        self._wanted[uri] += 1
        if session_id not in self._watching and self._nursery is not None:
            scope = self._watching[session_id] = trio.CancelScope()
            self._nursery.start_soon(self._watch, session_id, info.end_offset, scope)

    def unsubscribe(self, uri: str) -> None:
        """Stop telling of changes, once as many have unsubscribed as had subscribed."""
        session_id, _ = _parse(uri)
        self._wanted[uri] -= 1
        if self._wanted[uri] <= 0:
            del self._wanted[uri]
        if not any(uri_of(session_id, part) in self._wanted for part in TEMPLATES):
            scope = self._watching.pop(session_id, None)
            if scope is not None:
                scope.cancel()

    async def _watch(self, session_id: str, offset: int, scope: trio.CancelScope) -> None:
        async def publish(uri: str | None) -> None:
            for part in TEMPLATES:
                if (wanted := uri_of(session_id, part)) in self._wanted:
                    await self._publish(wanted)

        with scope:
            async with trio.open_nursery() as nursery:
                changes = _Changes(publish)
                nursery.start_soon(changes.tell)
                await self._follow(
                    attach.FOLLOW.name, {"session_id": session_id, "offset": offset}, changes, session_id
                )
                await changes.told()
                nursery.cancel_scope.cancel()
        if self._watching.get(session_id) is scope:
            del self._watching[session_id]

    # -- inside ---------------------------------------------------------------------------------------------

    async def _follow(self, method: str, params: dict[str, object], sink: "_Changes", session_id: str | None) -> None:
        try:
            await self._endpoint.stream(self._caller, method, msgspec.Raw(msgspec.json.encode(params)), sink)
        except PtybridgeError:
            sink.changed()  # it has gone: whoever reads it now is told so

    async def _call(self, method: str, params: dict[str, object]) -> msgspec.Struct:
        return await self._endpoint.call(self._caller, method, msgspec.Raw(msgspec.json.encode(params)))


class _Changes:
    """The sink of a stream whose events matter only in that there are some."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._changed = trio.Event()
        self._idle = trio.Event()
        self._telling = False

    async def opened(self, answer: msgspec.Struct) -> None:
        """The stream is open."""
        await trio.lowlevel.checkpoint()

    async def send(self, event: msgspec.Struct) -> None:
        """Take an event."""
        self.changed()
        await trio.lowlevel.checkpoint()

    def changed(self) -> None:
        """Note that something has changed."""
        self._changed.set()

    async def told(self) -> None:
        """Wait until the last change has been told."""
        while self._changed.is_set() or self._telling:
            self._idle = trio.Event()
            await self._idle.wait()

    async def tell(self) -> None:
        """Tell of changes, not too often."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            self._telling = True
            await self._publish(None)
            self._telling = False
            self._idle.set()
            await trio.sleep(DEBOUNCE_SECONDS)


def _parse(uri: str) -> tuple[str, str]:
    found = _URI.fullmatch(uri)
    if found is None:
        raise NotFound(f"there is no resource {printable(uri, 120)!r}", hint="resources/list has those there are")
    return found[1], found[2]


def _about(info: session.SessionInfo) -> str:
    command = printable(" ".join(info.command), 120)
    state = "running" if info.state == "running" else "exited"
    return f"{command} ({state}, in {printable(info.cwd, 120)})"
