"""Confirmations of dangerous commands: tokens that are good once, for one command, for a short while.

Whoever asks for one says why. A token does not prove that a person was asked: a client that has it has seen the
warning, and said in words that it means it. Where a person shall decide, the policy asks for an approval instead.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from shlex import join
from typing import Final, Literal

import msgspec

from ptybridge.core.wrappers import SHELLS
from ptybridge.errors import ConfirmationRejected, InvalidParams
from ptybridge.model import Access

PREFIX: Final = "dc_"
TOKEN_BYTES: Final = 16
# Of one principal; who asks for more loses the oldest.
MAX_OPEN: Final = 256
# Of all of them together.
MAX_ALL: Final = 4096
MAX_TTL_SECONDS: Final = 24 * 3600.0

Mode = Literal["token", "legacy"]
Binding = Literal["unknown", "expired", "principal", "command", "owner", "access"]
_SAID: Final[dict[Binding, str]] = {
    "unknown": "there is no such token, or it has been used",
    "expired": "it has expired",
    "principal": "it was given to somebody else",
    "command": "it was given for another command",
    "owner": "it was given for another owner",
    "access": "it was given for another access level",
}


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """One token and what it is good for. `owner` and `access` are None when it is good for any."""

    token: str
    principal: str
    commanddigest: bytes
    owner: str | None
    access: Access | None
    expires_at: float

    @property
    def expires_at_ms(self) -> int:
        """When it expires, in milliseconds since the epoch."""
        return int(self.expires_at * 1000)


class Confirmations:
    """The open confirmations of one daemon; they end with it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._open: dict[str, Confirmation] = {}

    def __len__(self) -> int:
        return len(self._open)

    def issue(
        self,
        command: str | Sequence[str],
        justification: str,
        *,
        principal: str,
        ttl: float,
        owner: str | None = None,
        access: Access | None = None,
    ) -> Confirmation:
        """Give a token for a command; it is good for `ttl` seconds. Raises `InvalidParams` when no reason is given."""
        if not justification.strip():
            raise InvalidParams("justification required", hint="say why this command must run")
        self._make_room(principal)
        token = PREFIX + secrets.token_hex(TOKEN_BYTES)
        one = Confirmation(
            token=token,
            principal=principal,
            commanddigest=digest(command),
            owner=owner,
            access=access,
            expires_at=self._clock() + min(max(ttl, 0.0), MAX_TTL_SECONDS),
        )
        self._open[token] = one
        return one

    def redeem(
        self,
        token: str,
        command: str | Sequence[str],
        *,
        principal: str,
        owner: str | None,
        access: Access | None,
    ) -> Confirmation:
        """Use a token up. Raises `ConfirmationRejected`, which says what does not fit; then it is not used up."""
        one = self._open.get(token)
        problem: Binding | None = None
        if one is None:
            problem = "unknown"
        elif one.principal != principal:
            problem = "principal"
        elif one.expires_at <= self._clock():
            del self._open[token]
            problem = "expired"
        elif one.commanddigest != digest(command):
            problem = "command"
        elif one.owner is not None and one.owner != owner:
            problem = "owner"
        elif one.access is not None and one.access != access:
            problem = "access"
        if problem is not None or one is None:
            problem = problem or "unknown"
            raise ConfirmationRejected(f"the confirm token does not fit: {_SAID[problem]}", reason=problem)
        del self._open[token]
        return one

    def _make_room(self, principal: str) -> None:
        now = self._clock()
        for token in [token for token, one in self._open.items() if one.expires_at <= now]:
            del self._open[token]
        own = [token for token, one in self._open.items() if one.principal == principal]
        if len(own) >= MAX_OPEN:
            del self._open[own[0]]
        elif len(self._open) >= MAX_ALL:
            del self._open[next(iter(self._open))]


def command_text(command: str | Sequence[str]) -> str:
    """Return the text a confirmation is bound to: the script of `sh -c script`, else the command line, stripped."""
    if not isinstance(command, str):
        words = list(command)
        shell = len(words) == 3 and words[0].rpartition("/")[2] in SHELLS and words[1] in {"-c", "-lc"}
        command = words[2] if shell else join(words)
    return command.replace("\r\n", "\n").replace("\r", "\n").strip()


def digest(command: str | Sequence[str]) -> bytes:
    """Return what tells a command from others without telling what it is."""
    # The command itself may hold a secret, and may be large.
    return hashlib.sha256(command_text(command).encode("utf-8", "surrogatepass")).digest()
