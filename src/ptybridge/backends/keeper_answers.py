"""What a daemon has asked its keeper and is not answered yet.

How it works: what is to come of an answer is made in the very step that receives it, not by the task that asked, which
is not awake yet. So whatever the keeper says or does next, its end included, finds the child that it is about.
"""

import itertools
from collections.abc import Callable
from typing import Generic, TypeVar

import trio

from ptybridge.errors import Unavailable
from ptybridge.keeper.protocol import KeeperError, Message, raise_error

T = TypeVar("T")


class Asked(Generic[T]):
    """One request under way."""

    def __init__(self, number: int, make: Callable[[Message], T]) -> None:
        self.number = number
        self.answered = trio.Event()
        self._make = make
        self._result: T | None = None
        self._error: Exception | None = Unavailable("the keeper is gone; a new one is being started")

    def take(self, message: Message) -> None:
        """Make of the answer what was wanted; its descriptors belong to that, and are closed if it fails."""
        try:
            raise_error(message.body)
            self._result, self._error = self._make(message), None
        except (OSError, KeeperError, ValueError) as exc:  # ValueError: a ring of another version
            message.close()
            self._error = exc
        self.answered.set()

    def forsake(self) -> None:
        """Close what has come and nobody wants any more."""
        if isinstance(self._result, Message):
            self._result.close()

    def result(self) -> T:
        """Return what was made. Raises OSError, `KeeperError`, or `Unavailable` without an answer."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # made when there is no error


class Answers:
    """All requests under way on one link."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Asked[object]] = {}

    def expect(self, make: Callable[[Message], T]) -> Asked[T]:
        """Return a request's number and place; `done` afterwards."""
        asked = Asked(next(self._numbers), make)
        self._waiting[asked.number] = asked  # type: ignore[assignment]  # what comes out is what was asked for
        return asked

    def done(self, asked: Asked[T]) -> None:
        """Wait for this one no longer."""
        self._waiting.pop(asked.number, None)

    def take(self, message: Message) -> bool:
        """Give a message to who waits for it; return whether there is somebody."""
        asked = self._waiting.pop(message.body.get("id", 0), None)
        if asked is None:
            return False
        asked.take(message)
        return True

    def lost(self) -> None:
        """No answers will come any more."""
        waiting, self._waiting = self._waiting, {}
        for asked in waiting.values():
            asked.answered.set()
