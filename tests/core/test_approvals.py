"""Questions to a human: asked once, answered once, in bounded number and time, and without keeping the command."""

import logging
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from ptybridge.core.approvals import MAX_COMMAND_CHARS, MAX_DECIDED, MAX_PENDING, Approval, Approvals
from ptybridge.core.confirmations import Confirmations
from ptybridge.core.damage import Match
from ptybridge.core.eventlog import EventLog
from ptybridge.core.policy import Action, Decision
from ptybridge.errors import ApprovalNotFound, ConfirmationRejected, Conflict, Denied, LimitReached

SECRET = "rm -rf / # hunter2"
ASK = Decision(verdict="ask", rule="dangerous-by-agent", matches=(Match(rule="rm", reason="it deletes /"),))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> EventLog:
    return EventLog()


@pytest.fixture
def confirmations() -> Confirmations:
    return Confirmations()


@pytest.fixture
def made(events: EventLog, confirmations: Confirmations, clock: Clock) -> Approvals:
    return Approvals(lambda: events, confirmations, ttl=60, clock=clock)


def ask(made: Approvals, command: str | list[str] = SECRET, **fields: Any) -> Approval:
    action = Action(
        **{"operation": "session.create", "command": command, "principal": "me", "profile": "mcp", **fields}
    )
    return made.request(action, ASK, client_id="claude", connection_id="c1")


def test_what_is_allowed_gives_a_token_for_this_command_once(made: Approvals, confirmations: Confirmations) -> None:
    one = made.decide(ask(made, owner="me", access="control").approval_id, allow=True, by="you", reason="fine")
    token = made.fetch(one)
    assert token is not None
    assert (one.state, one.decided_by, one.reason) == ("allowed", "you", "fine")
    for other in ({"command": "rm -rf /home"}, {"owner": "you"}, {"access": "admin"}, {"principal": "you"}):
        with pytest.raises(ConfirmationRejected):
            redeem(confirmations, token.token, **other)
    redeem(confirmations, token.token)
    with pytest.raises(ConfirmationRejected):
        redeem(confirmations, token.token)


def test_the_token_is_good_where_it_was_asked_for(made: Approvals) -> None:
    place = Action(operation="session.write", command=SECRET, principal="me", profile="mcp", cwd="/a")
    one = made.request(place, ASK, session_id="s1")
    made.decide(one.approval_id, allow=True, by="you")
    token = made.fetch(one)
    assert token is not None
    for elsewhere, session_id in ((place, None), (place, "s2"), (msgspec.structs.replace(place, cwd="/b"), "s1")):
        with pytest.raises(ConfirmationRejected, match="session s1, the directory /a") as caught:
            made.redeem(token.token, elsewhere, session_id)
        assert caught.value.data == {"reason": "place"}
    made.redeem(token.token, place, "s1")
    with pytest.raises(ConfirmationRejected):
        made.redeem(token.token, place, "s1")


def test_no_token_but_that_of_an_approval_is_good(made: Approvals, confirmations: Confirmations) -> None:
    place = Action(operation="session.create", command=SECRET, principal="me")
    own = confirmations.issue(SECRET, "because", principal="me", ttl=60)
    with pytest.raises(ConfirmationRejected):
        made.redeem(own.token, place, None)


def test_a_question_is_found_by_its_asker_and_command_and_gets_the_reason_why(made: Approvals) -> None:
    one = ask(made, owner="me", cwd="/a")
    vague = Action(operation="policy.confirm", command=SECRET, principal="me", profile="mcp")
    assert made.find(vague, "the disk is full") is one
    assert one.justification == "the disk is full"
    assert made.find(msgspec.structs.replace(vague, principal="you")) is None
    assert made.find(msgspec.structs.replace(vague, profile=None)) is None
    assert made.find(msgspec.structs.replace(vague, command="ls")) is None
    made.fetch(made.decide(one.approval_id, allow=True, by="you"))
    assert made.find(vague) is None
    assert one.justification is None


def redeem(confirmations: Confirmations, token: str, **fields: Any) -> None:
    given: dict[str, Any] = {"command": SECRET, "principal": "me", "owner": "me", "access": "control", **fields}
    confirmations.redeem(token, given.pop("command"), **given)


def test_what_is_denied_gives_none(made: Approvals, confirmations: Confirmations) -> None:
    one = made.decide(ask(made).approval_id, allow=False, by="you", reason="no")
    assert (one.state, made.fetch(one), len(confirmations)) == ("denied", None, 0)


def test_a_question_is_answered_once(made: Approvals) -> None:
    approval_id = ask(made).approval_id
    made.decide(approval_id, allow=False, by="you")
    with pytest.raises(Conflict, match="denied already"):
        made.decide(approval_id, allow=True, by="you")
    with pytest.raises(ApprovalNotFound):
        made.decide("nothing", allow=True, by="you")


def test_the_same_question_is_not_asked_twice(made: Approvals, clock: Clock) -> None:
    first = ask(made)
    assert ask(made) is first
    others: list[dict[str, Any]] = [
        {"command": "x"},
        {"owner": "o"},
        {"cwd": "/"},
        {"access": "admin"},
        {"profile": None},
    ]
    assert len({ask(made, **other).approval_id for other in others} | {first.approval_id}) == len(others) + 1
    made.decide(first.approval_id, allow=False, by="you")
    assert ask(made) is first
    clock.now += 60
    assert ask(made) is not first


def test_what_was_allowed_and_fetched_is_asked_anew(made: Approvals) -> None:
    first = made.decide(ask(made).approval_id, allow=True, by="you")
    assert ask(made) is first
    made.fetch(first)
    assert ask(made) is not first


def test_nobody_answers(made: Approvals, clock: Clock, events: EventLog) -> None:
    one = ask(made)
    clock.now += 60
    assert made.pending() == []
    assert made.get(one.approval_id).state == "expired"
    with pytest.raises(Conflict, match="expired"):
        made.decide(one.approval_id, allow=True, by="you")
    assert [event.__struct_config__.tag for event in events.after(0)] == ["approval_requested", "approval_decided"]


def test_they_are_bounded(made: Approvals) -> None:
    for number in range(MAX_PENDING):
        ask(made, f"rm {number}")
    with pytest.raises(LimitReached):
        ask(made, "one more")
    assert ask(made, "rm 0").state == "pending"
    for _ in range(3):
        for one in made.pending():
            made.decide(one.approval_id, allow=False, by="you")
        for number in range(MAX_PENDING):
            ask(made, f"rm {number} {_}")
    assert len(made.all()) == MAX_PENDING + MAX_DECIDED


def test_what_nobody_could_read_is_not_asked(made: Approvals) -> None:
    with pytest.raises(Denied, match="characters"):
        ask(made, "x" * (MAX_COMMAND_CHARS + 1))
    assert ask(made, ["rm", "it's"]).command == "rm 'it'\"'\"'s'"
    assert ask(made, ["sh", "-c", "rm x"]).command == "rm x"


def test_the_command_is_told_to_no_event_and_no_log_and_forgotten_by_the_decision(
    made: Approvals, events: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        one = ask(made)
        assert one.command == SECRET
        made.decide(one.approval_id, allow=True, by="you")
    assert (one.command, one.action.command) == ("", "")
    assert "hunter2" not in caplog.text + repr(events.after(0)) + repr(made.all())
    for part in (one.approval_id, "pending", "allowed", "dangerous-by-agent", "(rm)", "by you", "for me"):
        assert part in caplog.text


async def test_a_wait_ends_with_the_answer(made: Approvals, nursery: trio.Nursery) -> None:
    one = ask(made)
    nursery.start_soon(decide_soon, made, one)
    with trio.fail_after(30):
        assert (await made.wait(one.approval_id, 1000)).state == "allowed"
        assert (await made.wait(one.approval_id, 0)).state == "allowed"


async def decide_soon(made: Approvals, one: Approval) -> None:
    await trio.testing.wait_all_tasks_blocked()
    made.decide(one.approval_id, allow=True, by="you")


async def test_a_wait_ends_with_its_time_or_the_questions(
    events: EventLog, confirmations: Confirmations, autojump_clock: trio.testing.MockClock
) -> None:
    made = Approvals(lambda: events, confirmations, ttl=60)
    one = ask(made)
    assert (await made.wait(one.approval_id, 0)).state == "pending"
    assert (await made.wait(one.approval_id, 10)).state == "pending"
    assert (await made.wait(one.approval_id, 1000)).state == "expired"
    assert trio.current_time() - one.deadline < 1


def test_ids_are_short_and_no_two_are_alike(made: Approvals, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = iter("a" * 12 + "b" * 6)
    monkeypatch.setattr("ptybridge.core.approvals.secrets.choice", lambda _: next(letters))
    assert [ask(made, text).approval_id for text in ("x", "y")] == ["aaaaaa", "bbbbbb"]
