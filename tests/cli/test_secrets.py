"""`ptybridge secrets`: which request is meant, before anybody is asked for a value."""

import io
import sys

import pytest
from tests.cli.fake_daemon import FakeDaemon, daemon

from ptybridge.cli.program import run

__all__ = ["daemon"]


def waiting(daemon: FakeDaemon, *ids: str) -> None:
    one = {"session_id": "s1", "session_name": None, "command": ["sudo"], "prompt": "Password:", "asked_by": "a",
           "created_at_ms": 0, "echo": False}  # fmt: skip
    daemon.result("secret.list", {"requests": [one | {"request_id": each} for each in ids]})


@pytest.fixture(autouse=True)
def requests(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting(daemon, "1f0c", "1f77", "2aaa")
    daemon.result("secret.provide", {"reason": "provided", "session_id": "s1", "redacted": True})
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2-hunter2\n"))


def test_the_beginning_of_an_id_will_do(daemon: FakeDaemon) -> None:
    run(["secrets", "give", "1f0"])
    assert daemon.requests[-1][1]["request_id"] == "1f0c"


def test_an_empty_id_means_no_request_even_if_there_is_only_one(daemon: FakeDaemon) -> None:
    waiting(daemon, "1f0c")
    assert run(["secrets", "give", ""]) == run(["secrets", "deny", ""]) == 3
    assert {method for method, _ in daemon.requests} == {"secret.list"}


@pytest.mark.parametrize(("request_id", "code", "part"), [("9", 3, "no request '9'"), ("1f", 5, "any of 1f0c, 1f77")])
def test_no_value_is_read_for_a_request_that_is_not_there(
    daemon: FakeDaemon, request_id: str, code: int, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["secrets", "give", request_id]) == code
    assert part in capsys.readouterr().err
    assert sys.stdin.read() == "hunter2-hunter2\n"
    assert daemon.requests[-1][0] == "secret.list"


def test_that_nobody_asks_is_said_to_people(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.result("secret.list", {"requests": []})
    assert run(["secrets"]) == 0
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run(["secrets"]) == 0
    assert "nobody asks for a secret" in capsys.readouterr().out
