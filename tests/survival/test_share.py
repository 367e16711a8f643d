"""What `serve --public` shares, across daemons: the same session, the same link, the same limits."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from tests.survival.harness import PATIENCE_SECONDS, Node, eventually

OPTIONS = ("-c", "exec cat", "--public", "--port", "0", "--max-clients", "3", "--grace", "10m", "--expires", "2h")


class Visitor:
    """Somebody with a link."""

    def __init__(self, url: str) -> None:
        self.base, _, self.key = url.partition("#")
        self.base = self.base.partition("/login")[0]

    def ask(self, path: str, body: object = None) -> Any:
        """Ask with the link's key, waiting for a daemon if need be."""
        request = urllib.request.Request(
            self.base + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )

        def answered() -> Any:
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                    return (json.load(answer),)
            except urllib.error.HTTPError:
                raise
            except OSError:
                return None

        return eventually(answered, path)[0]

    def joins(self) -> tuple[str, bool]:
        joined = self.ask("/v1/share/join", {})
        return joined["session_id"], joined["started"]

    def types(self, session_id: str, line: str) -> None:
        self.ask(f"/v1/sessions/{session_id}/input", {"data": line + "\n"})
        until = {"pattern": line, "offset": 0, "timeout_ms": 50_000}
        assert self.ask(f"/v1/sessions/{session_id}/read-until", until)["reason"] == "matched"


@pytest.fixture
def visitor(node: Node) -> Visitor:
    node.start(options=OPTIONS)
    # It answers on its socket a moment before it listens for browsers.
    eventually(lambda: node.call("web.status")["addresses"], "the web front")
    return Visitor(node.call("share.link", name="ann", expires_in_ms=3_600_000)["url"])


def about(node: Node, session_id: str) -> dict[str, Any]:
    found = node.call("session.get", session_id=session_id)
    return {name: found[name] for name in ("pid", "access", "name", "max_clients", "unattended_timeout_ms")}


def test_it_is_the_same_after_the_daemon_was_killed(node: Node, visitor: Visitor) -> None:
    session_id, started = visitor.joins()
    assert started
    visitor.types(session_id, "before")
    before, served = about(node, session_id), node.call("share.status")
    for line in ("once", "twice"):
        node.kill()
        # As the next command would start it: nobody says again what is served.
        node.start()
        assert visitor.joins() == (session_id, False)
        visitor.types(session_id, line)
        assert about(node, session_id) == before
        assert node.call("share.status") == served
    text = visitor.ask(f"/v1/sessions/{session_id}/output?offset=0")["data"]
    assert [line in text for line in ("before", "once", "twice")] == [True] * 3
    # When it ends, the next visitor gets another.
    node.call("session.close", session_id=session_id)
    fresh, started = visitor.joins()
    assert (fresh != session_id, started) == (True, True)


def test_it_is_the_same_after_a_restart_and_forgotten_after_a_stop(node: Node, visitor: Visitor) -> None:
    session_id, _ = visitor.joins()
    old = node.pid
    node.call("node.restart")
    eventually(lambda: node.call("node.info")["pid"] != old, "another daemon")
    node.wait_serving()
    assert visitor.joins() == (session_id, False)
    visitor.types(session_id, "after")
    node.call("node.shutdown")
    node.reap(node.pid)
    node.start()
    assert not node.call("share.status")["public"]


def test_a_visitor_who_waits_is_led_to_one_session_only(node: Node, visitor: Visitor) -> None:
    """The daemon is killed while nobody is on it, and before anything was started."""
    node.kill()
    node.start()
    session_id, started = visitor.joins()
    assert started
    assert visitor.joins() == (session_id, False)
