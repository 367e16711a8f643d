"""What a program draws, as it is served: shut in by its own policy, and refused to who may not ask."""

import sys
from pathlib import Path

from tests.web.conftest import Connect
from tests.web.http import Http

from ptybridge.daemon import Daemon

DRAWER = [sys.executable, "-S", str(Path(__file__).parent / "drawer.py")]


async def with_key(daemon: Daemon, connect: Connect, level: str) -> Http:
    _, value = await daemon.keyring.create_key(level, level)  # type: ignore[arg-type]
    http = await connect()
    http.headers = [("authorization", f"Bearer {value}")]
    return http


async def test_the_document_of_a_program_is_shut_in(daemon: Daemon, connect: Connect) -> None:
    http = await with_key(daemon, connect, "full")
    made = (await http.post("/v1/sessions", {"command": DRAWER, "backend": "pipes"})).json()
    # How long a page may take is asked of programs that have started.
    await http.post(f"/v1/sessions/{made['session_id']}/input", {"data": "there?\n"})
    found = await http.post(
        f"/v1/sessions/{made['session_id']}/read-until", {"pattern": "got there?", "timeout_ms": 60_000}
    )
    assert found.json()["reason"] == "matched"
    answer = await http.get(f"/s/{made['session_id']}/frame/a/b?x=1")
    assert answer.status == 200
    assert b"<h1>Page /a/b</h1><p id=n>1 x=1</p>" in answer.body
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["sandbox"] == "allow-scripts allow-forms"
    assert policy["default-src"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert policy["frame-ancestors"] == "'self'"
    assert answer.headers["cache-control"] == "no-store"
    assert "x-frame-options" not in answer.headers


async def test_who_may_not_write_gets_a_page_that_says_so(daemon: Daemon, connect: Connect) -> None:
    http = await with_key(daemon, connect, "full")
    made = (await http.post("/v1/sessions", {"command": DRAWER, "backend": "pipes"})).json()
    path = f"/s/{made['session_id']}/frame/"
    for asking, status in ((await connect(), 401), (await with_key(daemon, connect, "read"), 403)):
        answer = await asking.get(path)
        assert answer.status == status
        assert answer.headers["content-security-policy"].startswith("sandbox")
        assert b"<h1>" not in answer.body
    # From another page it is not even asked.
    answer = await http.get(
        path, [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")]
    )
    assert answer.status == 403
    assert (await http.get("/s/nowhere/frame/")).status == 404
