"""What is good once and briefly: codes that log a browser in, tickets that open a WebSocket. Kept in memory only."""

import hashlib
import secrets
from collections import OrderedDict
from typing import Final, Generic, TypeVar

import trio

T = TypeVar("T")

# Who asks for so many at a time uses none of them.
MAX_KEPT: Final = 1000


class OneTime(Generic[T]):
    """Secrets, each good once for `seconds`, and what they stand for."""

    def __init__(self, prefix: str, seconds: float) -> None:
        self.seconds = seconds
        self._prefix = prefix
        # By hash, so that looking one up tells a guesser nothing about it.
        self._kept: OrderedDict[bytes, tuple[float, T]] = OrderedDict()

    def make(self, value: T) -> str:
        """Return a secret that stands for `value`: 256 random bits."""
        now = trio.current_time()
        while self._kept and (len(self._kept) >= MAX_KEPT or next(iter(self._kept.values()))[0] <= now):
            self._kept.popitem(last=False)
        secret = self._prefix + secrets.token_urlsafe(32)
        self._kept[_hash(secret)] = (now + self.seconds, value)
        return secret

    def take(self, secret: str) -> T | None:
        """Return what it stands for, and end it. None for one that is wrong, was used, or is too old."""
        deadline, value = self._kept.pop(_hash(secret), (0.0, None))
        return value if deadline > trio.current_time() else None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
