"""Tokens that confirm one command once."""

from typing import Any

import pytest

from ptybridge.core import confirmations
from ptybridge.core.confirmations import Confirmations, command_text
from ptybridge.errors import ConfirmationRejected, InvalidParams


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def made(clock: Clock) -> Confirmations:
    return Confirmations(clock)


def issue(made: Confirmations, command: str | list[str] = "rm -rf /x", **more: Any) -> str:
    given: dict[str, Any] = {"principal": "me", "ttl": 300.0, **more}
    return made.issue(command, "needed", **given).token


def redeem(made: Confirmations, token: str, command: str | list[str] = "rm -rf /x", **more: Any) -> None:
    given: dict[str, Any] = {"principal": "me", "owner": None, "access": None, **more}
    made.redeem(token, command, **given)


def test_a_token_is_good_once(made: Confirmations) -> None:
    token = issue(made)
    assert token.startswith("dc_")
    assert len(bytes.fromhex(token[3:])) == 16
    redeem(made, token)
    with pytest.raises(ConfirmationRejected, match="used") as caught:
        redeem(made, token)
    assert caught.value.data == {"reason": "unknown"}


@pytest.mark.parametrize("justification", ["", " \t\n"])
def test_a_reason_must_be_given(made: Confirmations, justification: str) -> None:
    with pytest.raises(InvalidParams, match="justification required"):
        made.issue("x", justification, principal="me", ttl=1)
    assert len(made) == 0


def test_it_expires(made: Confirmations, clock: Clock) -> None:
    token = issue(made, ttl=10)
    clock.now += 10
    with pytest.raises(ConfirmationRejected) as caught:
        redeem(made, token)
    assert caught.value.data == {"reason": "expired"}
    assert len(made) == 0


@pytest.mark.parametrize(
    ("given", "used", "reason"),
    [
        ({}, {"command": "rm -rf /y"}, "command"),
        ({}, {"principal": "you"}, "principal"),
        ({"owner": "a"}, {"owner": "b"}, "owner"),
        ({"owner": "a"}, {"owner": None}, "owner"),
        ({"access": "admin"}, {"access": "control"}, "access"),
    ],
)
def test_what_does_not_fit_is_named_and_uses_nothing_up(
    made: Confirmations, given: dict[str, Any], used: dict[str, Any], reason: str
) -> None:
    token = issue(made, **given)
    with pytest.raises(ConfirmationRejected) as caught:
        redeem(made, token, **used)
    assert caught.value.data == {"reason": reason}
    redeem(made, token, **given)


def test_without_owner_and_access_it_is_good_for_any(made: Confirmations) -> None:
    redeem(made, issue(made), owner="a", access="admin")


@pytest.mark.parametrize(
    "command",
    ["  rm -rf /x\n", ["bash", "-c", "rm -rf /x"], ["/bin/sh", "-c", "rm -rf /x "], ["rm", "-rf", "/x"], "rm -rf /x\r"],
)
def test_the_same_command_may_be_written_in_several_ways(made: Confirmations, command: str | list[str]) -> None:
    redeem(made, issue(made), command)


def test_a_shell_with_other_options_is_another_command() -> None:
    assert command_text(["bash", "-ic", "ls"]) == "bash -ic ls"


def test_there_is_an_end_to_how_many_are_open(made: Confirmations, clock: Clock) -> None:
    first, other = issue(made), issue(made, principal="you")
    last = [issue(made) for _ in range(confirmations.MAX_OPEN)][-1]
    assert len(made) == confirmations.MAX_OPEN + 1
    with pytest.raises(ConfirmationRejected):
        redeem(made, first)
    redeem(made, last)
    redeem(made, other, principal="you")
    clock.now += 300
    issue(made)
    assert len(made) == 1
