"""`share`: what it asks and what it prints."""

import json
from typing import Any

import pytest
from tests.cli.fake_daemon import FakeDaemon, daemon
from tests.cli.test_keys_and_open import info

from ptybridge.cli.program import run

__all__ = ["daemon"]

URL = "http://127.0.0.1:7373/login?next=public#ptb_" + "A" * 43


def state(**changes: Any) -> dict[str, Any]:
    return {
        "command": "python game.py", "cwd": "/tmp", "public": True, "read_only": False, "once": False,
        "session_id": None, "clients": 0, "max_clients": None, **changes,
    }  # fmt: skip


def test_what_is_shared(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("share.status", state())
    assert run(["share", "status"]) == 0
    shown = capsys.readouterr().out
    assert "python game.py" in shown
    assert "starts with the first visitor" in shown
    daemon.result("share.status", state(session_id="s1", clients=2, max_clients=5, read_only=True, once=True))
    assert run(["share", "status"]) == 0
    shown = capsys.readouterr().out
    assert "s1, 2 of at most 5 on it" in shown
    assert "watch, and it is served once" in shown
    assert run(["share", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clients"] == 2


def test_nothing_is_shared(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("share.status", state(public=False, command=None))
    assert run(["share", "status"]) == 1
    assert "serve -c CMD --public" in capsys.readouterr().err
    assert run(["share", "status", "--json"]) == 1
    assert not json.loads(capsys.readouterr().out)["public"]


def test_a_link_is_all_that_is_printed(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("share.link", {"url": URL, "key": info(name="ann")})
    assert run(["share", "link", "ann", "--read-only", "--expires", "2h"]) == 0
    assert daemon.requests[-1] == ("share.link", {"name": "ann", "read_only": True, "expires_in_ms": 7_200_000})
    assert capsys.readouterr().out == URL + "\n"
    assert run(["share", "link", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["url"] == URL


def test_a_time_that_is_none_is_refused_before_anything_is_asked(daemon: FakeDaemon) -> None:
    assert run(["share", "link", "--expires", "soon"]) == 2
    assert daemon.requests == []
