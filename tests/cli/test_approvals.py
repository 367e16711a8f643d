"""`approvals` and `policy check`: what a human reads before answering, and how the answer gets there."""

import json
import time
from typing import Any

import pytest
from tests.cli.fake_daemon import FakeDaemon, daemon

from ptybridge.cli.program import run

__all__ = ["daemon"]


def question(**changes: Any) -> dict[str, Any]:
    now = int(time.time() * 1000)
    return {
        "approval_id": "k3m9xp", "state": "pending", "operation": "session.create", "command": "rm -rf /srv\nls",
        "justification": "the disk is full", "rule": "dangerous-by-agent",
        "matches": [{"rule": "rm", "reason": "it deletes /srv"}], "principal": "uid:0", "profile": "mcp",
        "client_id": "claude", "session_id": None, "owner": None, "cwd": "/home/me", "asked_at_ms": now - 120_500,
        "expires_at_ms": now + 470_000, "decided_at_ms": None, "decided_by": None, "reason": None,
        "decidable": False, **changes,
    }  # fmt: skip


DECIDED = question(state="denied", command=None, decided_by="uid:0", decided_at_ms=1, reason="use\x1b[2J the sandbox")


def test_a_question_is_shown_whole(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("approval.list", {"approvals": [question()]})
    assert run(["approvals"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "k3m9xp  waits since 2m, 7m left",
        "        an agent (claude), uid:0, wants session.create in /home/me",
        "        │ rm -rf /srv",
        "        │ ls",
        "        it says: the disk is full",
        "        rm: it deletes /srv",
    ]


def test_a_command_cannot_hide_anything(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    long = "ls " + "x" * 10_000 + "; rm -rf /"
    daemon.result("approval.list", {"approvals": [question(command=f"ls\x1b[2K\r{long}", matches=[])]})
    assert run(["approvals", "ls"]) == 0
    out = capsys.readouterr().out
    assert long in out
    assert "\x1b" not in out
    assert "asked about by the rule dangerous-by-agent" in out


@pytest.mark.parametrize(("word", "allow"), [("allow", True), ("deny", False)])
def test_an_answer_needs_the_beginning_of_an_id(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], word: str, allow: bool
) -> None:
    daemon.result("approval.list", {"approvals": [question(), question(approval_id="k4"), DECIDED]})
    daemon.result("approval.decide", question(state="allowed" if allow else "denied"))
    assert run(["approvals", word, "k3", "--reason", "so"]) == 0
    assert daemon.requests[-1] == ("approval.decide", {"approval_id": "k3m9xp", "allow": allow, "reason": "so"})
    assert run(["approvals", word, "k"]) == 2
    assert "could be k3m9xp or k4" in capsys.readouterr().err


def test_what_is_not_listed_the_daemon_answers_for(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("approval.list", {"approvals": []})
    assert run(["approvals"]) == 0
    assert capsys.readouterr().out == ""
    daemon.error("approval.decide", "denied", "a human's to decide", hint="use a terminal")
    assert run(["approvals", "allow", "xyz"]) == 5
    daemon.error("approval.decide", "approval_not_found", "there is none")
    assert run(["approvals", "allow", "xyz"]) == 3


def test_watching_shows_each_question_and_its_answer_once(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    event = {"number": 1, "time_ms": 0, "session_id": None, "approval_id": "k3m9xp"}
    daemon.result("approval.list", {"approvals": [DECIDED]})
    daemon.stream(
        "event.follow", {"number": 0},
        [{**event, "type": "approval_requested"}, {**event, "number": 2, "type": "approval_decided"}],
        {"reason": "stopped"},
    )  # fmt: skip
    assert run(["approvals", "--watch"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("k3m9xp  denied by uid:0 at ")
    assert line.endswith(": use[2J the sandbox")


def test_json_is_what_the_daemon_says(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("approval.list", {"approvals": [DECIDED]})
    assert run(["approvals", "--all", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [DECIDED]
    assert daemon.requests[-1] == ("approval.list", {"all": True})


@pytest.mark.parametrize(
    "words",
    [
        ["allow"],
        ["allow", ""],
        ["ls", "k3"],
        ["--reason", "x"],
        ["allow", "k3", "--watch"],
        ["deny", "k3", "--all"],
        ["give"],
    ],
)
def test_wrong_words_are_refused(daemon: FakeDaemon, words: list[str]) -> None:
    assert run(["approvals", *words]) == 2
    assert daemon.requests == []


@pytest.mark.parametrize(("verdict", "code"), [("allow", 0), ("ask", 1), ("deny", 1)])
def test_a_check_leaves_with_the_verdict(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], verdict: str, code: int
) -> None:
    found = {"verdict": verdict, "rule": "mine", "matches": [{"rule": "rm", "reason": "it deletes /"}]}
    daemon.result("policy.check", found)
    assert run(["policy", "check", "rm -rf /"]) == code
    assert capsys.readouterr().out.splitlines() == [f"{verdict}  by the rule mine", "  rm: it deletes /"]
    assert daemon.requests[-1][1]["command"] == "rm -rf /"
    assert run(["policy", "check", "--as", "", "--json", "--", "rm", "-rf", "/"]) == code
    assert (daemon.requests[-1][1]["command"], daemon.requests[-1][1]["as_profile"]) == (["rm", "-rf", "/"], "")
    assert json.loads(capsys.readouterr().out) == found
