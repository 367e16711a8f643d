"""Streams as server-sent events: their shape, resuming, heartbeats, the end, and readers that are slow or gone."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from tests.web.conftest import Connect, OpenGate
from tests.web.http import PATIENCE_SECONDS, Http, eventually

from ptybridge.daemon import Daemon
from ptybridge.service import reporting
from ptybridge.web import sse


@pytest.fixture
def gate() -> Any:
    return OpenGate


class Events:
    """Reads events off a response."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._text = ""
        self.comments = 0

    async def next(self) -> tuple[str, str | None, Any]:
        """Return the next event's type, id and data."""
        while True:
            while "\n\n" not in self._text:
                piece = await self._http.chunk()
                assert piece, "the stream ended without an end event"
                self._text += piece.decode()
            block, _, self._text = self._text.partition("\n\n")
            if block.startswith(":"):
                self.comments += 1
                continue
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            return fields["event"], fields.get("id"), msgspec.json.decode(fields["data"])

    async def until(self, kind: str) -> list[tuple[str, str | None, Any]]:
        found = [await self.next()]
        while found[-1][0] != kind:
            found.append(await self.next())
        return found


async def follow(http: Http, path: str, headers: list[tuple[str, str]] | None = None) -> Events:
    await http.send("GET", path, headers)
    head = await http.head()
    assert (head.status, head.headers["content-type"]) == (200, "text/event-stream")
    assert "content-encoding" not in head.headers
    return Events(http)


async def start(http: Http, *command: str) -> str:
    answer = await http.post("/v1/sessions", {"command": list(command)})
    return str(answer.json()["session_id"])


async def test_a_session_is_followed_to_its_end(http: Http, connect: Connect) -> None:
    session_id = await start(http, "sh", "-c", "printf one; read x; printf two")
    events = await follow(await connect(), f"/v1/sessions/{session_id}/events?offset=0")
    assert (await events.next())[0] == "opened"
    kind, place, data = await events.next()
    assert (kind, place, data["data"]) == ("output", "3", "one")
    await http.post(f"/v1/sessions/{session_id}/input", {"data": "\n"})
    rest = await events.until("end")
    assert "".join(data["data"] for kind, _, data in rest if kind == "output").endswith("two")
    assert "exited" in [kind for kind, _, _ in rest]
    assert await events._http.chunk() == b""


async def test_last_event_id_resumes_behind_what_was_seen(http: Http, connect: Connect) -> None:
    session_id = await start(http, "sh", "-c", "printf onetwo; sleep 600")
    path = f"/v1/sessions/{session_id}/events?offset=0"
    events = await follow(await connect(), path, [("last-event-id", "3")])
    _, _, data = (await events.until("output"))[-1]
    assert data["data"] == "two"


async def test_events_of_the_node_are_numbered_and_resumed(http: Http, connect: Connect) -> None:
    events = await follow(await connect(), "/v1/events?types=created")
    number = (await events.next())[2]["number"]
    await start(http, "true")
    _, place, data = await events.next()
    assert place == str(data["number"])
    again = await follow(await connect(), "/v1/events?types=created", [("last-event-id", str(number))])
    assert (await again.until("created"))[-1][2] == data


@pytest.mark.parametrize("sent", ["x", "-1", "9" * 30, "1.5"])
async def test_a_strange_last_event_id_is_refused(http: Http, sent: str) -> None:
    assert (await http.get("/v1/events", [("last-event-id", sent)])).status == 400


async def test_an_error_before_the_stream_begins_is_an_ordinary_one(http: Http) -> None:
    answer = await http.get("/v1/sessions/nosuch/events")
    assert (answer.status, answer.json()["error"]["code"]) == (404, "session_not_found")


async def test_work_that_fails_at_once_answers_with_a_status(
    http: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine is today: "at once".
    monkeypatch.setattr(reporting, "INTERVAL_SECONDS", 60.0)
    (tmp_path / "text").write_text("no archive")
    made: dict[str, dict[str, Any]] = {
        "archive": {"sources": [str(tmp_path / "none")], "destination": str(tmp_path / "a.tar")},
        "extract": {"source": str(tmp_path / "text"), "destination": str(tmp_path / "out")},
        "fetch": {"url": "https://192.0.2.1/", "path": str(tmp_path / "got")},
    }
    codes = [(await http.post(f"/v1/files/{name}", params)).json()["error"]["code"] for name, params in made.items()]
    assert codes == ["file_not_found", "bad_archive", "denied"]
    answer = await http.post("/v1/exec/stream", {"command": ["/no/such/program"]})
    assert answer.status >= 400
    answer = await http.post(
        "/v1/files/archive", {"sources": [str(tmp_path / "text")], "destination": str(tmp_path / "a.tar")}
    )
    assert (answer.status, answer.body.count(b"event: ")) == (200, 3), "opened, archived, end"


async def test_silence_is_broken_by_comments(http: Http, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.05)
    session_id = await start(http, "cat")
    events = await follow(await connect(), f"/v1/sessions/{session_id}/events")
    text = b""
    with trio.fail_after(PATIENCE_SECONDS):
        while text.count(b": heartbeat\n\n") < 3:
            text += await events._http.chunk()


async def test_a_program_is_run_and_ends_with_its_reader(connect: Connect, daemon: Daemon) -> None:
    http = await connect()
    body = msgspec.json.encode({"command": ["sh", "-c", "echo here; exec sleep 600"]})
    await http.send("POST", "/v1/exec/stream", [("content-type", "application/json")], body)
    assert (await http.head()).status == 200
    events = Events(http)
    await events.until("output")
    assert daemon.sessions.running()
    await http.stream.aclose()
    await eventually(lambda: not daemon.sessions.running())


async def test_a_slow_reader_gets_everything_and_holds_nobody_up(http: Http, connect: Connect) -> None:
    session_id = await start(http, "sh", "-c", "read x; seq 1 60000; sleep 600")
    slow = await connect()
    events = await follow(slow, f"/v1/sessions/{session_id}/events?offset=0")
    await http.post(f"/v1/sessions/{session_id}/input", {"data": "\n"})
    wait = {"pattern": "60000", "timeout_ms": 60_000}
    assert (await http.post(f"/v1/sessions/{session_id}/read-until", wait)).json()["reason"] == "matched"
    seen = ""
    while "60000" not in seen:
        kind, _, data = await events.next()
        seen += data["data"] if kind == "output" else ""
    assert seen.replace("\r", "").split()[-60000:] == [str(n) for n in range(1, 60001)]
