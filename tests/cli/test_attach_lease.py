"""A session whose lease another client holds: what the user sees, and a key that takes it and gives it back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_attach_harness import Attach, Daemon, attaching, eventually, serving

from ptybridge.wire import attach as frames

PREFIX = b"\x1c"
HELD = frames.Error(code="lease_held", message="'bot' has the lease of session s1", hint="")


@pytest.fixture
def daemon(runtime_dir: Path) -> Iterator[Daemon]:
    with serving(runtime_dir) as it:
        yield it


@pytest.fixture
def attach(daemon: Daemon) -> Iterator[Attach]:
    with attaching(daemon) as it:
        yield it


def lease(client_id: str | None, *, gone: bool = False) -> dict[str, Any]:
    return {
        "session_id": "s1", "client_id": client_id, "principal": client_id and "uid:0", "holder_gone": gone,
        "attached_at_ms": 1, "detached_at_ms": None, "last": None, "workspace": None, "workspace_client_id": None,
        "workspace_session_ids": [],
    }  # fmt: skip


def answer(daemon: Daemon, client_id: str | None, **facts: bool) -> None:
    daemon.answers["lease.get"] = lease(client_id, **facts)
    changed = {"lease": lease(client_id), "changed": True, "affected_session_ids": ["s1"]}
    for method in ("acquire", "release", "handoff", "takeover"):
        daemon.answers[f"lease.{method}"] = changed


def asked(daemon: Daemon, method: str) -> dict[str, Any]:
    """Wait until the client has called this; return the parameters."""
    eventually(lambda: [name for name, _ in daemon.asked if name == method], method)
    return next(params for name, params in daemon.asked if name == method)


def test_who_cannot_type_sees_who_can_and_the_picture_comes_back(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    served.send(frames.Mode(writer=False), HELD)
    terminal.see(b"['bot' has the lease of session s1")
    terminal.see(b"take it: Ctrl-\\ t]")
    terminal.type(b"lost")
    again = daemon.attachment(1)
    assert again.params["client_id"] == served.params["client_id"]
    # The daemon of this test lets it write now.
    terminal.see(b"work: you can type again")
    again.show(b"fresh picture")
    terminal.type(b"kept")
    terminal.see(b"fresh picture")
    eventually(lambda: b"".join(one.typed for one in daemon.served[1:]) == b"kept", "input flows again")
    assert served.typed == b""


def test_a_key_takes_the_lease_and_gives_it_back_to_whom_it_was_taken_from(daemon: Daemon, attach: Attach) -> None:
    answer(daemon, "bot")
    terminal = attach(client_id="me")
    daemon.attachment().show()
    terminal.see(b"hello")
    terminal.type(PREFIX + b"t")
    terminal.see(b"taken over from bot")
    taken = asked(daemon, "lease.takeover")
    assert (taken["from_client_id"], taken["client_id"], taken["reason"]) == ("bot", "me", "taken at the terminal")
    answer(daemon, "me")
    terminal.type(PREFIX + b"t")
    terminal.see(b"lease handed back to bot")
    assert asked(daemon, "lease.handoff")["target_client_id"] == "bot"


def test_who_leaves_gives_back_what_was_taken_with_take(daemon: Daemon, attach: Attach) -> None:
    answer(daemon, None)
    terminal = attach(client_id="me", take=True)
    daemon.attachment().show()
    terminal.see(b"only you can type now")
    assert asked(daemon, "lease.acquire")["client_id"] == "me"
    answer(daemon, "me")
    terminal.type(PREFIX + b"d")
    assert terminal.end() == 0
    assert asked(daemon, "lease.release")["client_id"] == "me"
