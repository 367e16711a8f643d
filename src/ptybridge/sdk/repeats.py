"""What a lost connection means for a call: the one rule of the SDK's clients and of the commands."""

import time
from typing import Any, TypeVar

import msgspec

from ptybridge.api.operation import Effect, Operation, Params
from ptybridge.errors import ConnectionLost, PtybridgeError, SessionNotFound

P = TypeVar("P", bound=Params)


class TimeLeft:
    """The time a call's parameters give it, counted over all attempts."""

    def __init__(self, params: Params) -> None:
        timeout_ms = getattr(params, "timeout_ms", None)
        self._deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000

    def remaining(self, params: P) -> P:
        """Return `params` with what is left of the time."""
        if self._deadline is None:
            return params
        left = max(0, int((self._deadline - time.monotonic()) * 1000))
        return msgspec.structs.replace(params, timeout_ms=left)


def unknown(operation: Operation[Any, Any]) -> ConnectionLost:
    """Return what to raise for something that a lost connection has cut off and that is not done again."""
    if operation.effect is Effect.READS:
        return ConnectionLost(f"the daemon went away during {operation.name}", hint="it can be done again")
    return ConnectionLost(
        f"the daemon went away during {operation.name}: it is not known whether it was done",
        hint="look before you repeat it",
    )


def gone_with_daemon(error: SessionNotFound) -> ConnectionLost:
    """Return what to raise when the session that something was about is not there after the daemon was."""
    return ConnectionLost(
        f"the daemon went away, and the next one does not have the session: {error.message}",
        hint="sessions end with `ptybridge stop`, or when daemon and keeper are killed",
    )


def require_repeatable(
    operation: Operation[Any, Any], params: Params, error: PtybridgeError, *, knows_positions: bool = False
) -> None:
    """Raise what a lost connection means for a call that must not be made again.

    That is what changes something, and what reads from a position that the daemon keeps and may have moved. Whoever
    `knows_positions` of reads without a name gives them when it asks again.
    """
    if operation.effect is not Effect.READS:
        raise unknown(operation) from error
    name = getattr(params, "client_id", None)
    if getattr(params, "offset", 0) is None and not (knows_positions and name is None):
        whose = f" of {name!r}" if name is not None else ""
        raise ConnectionLost(
            f"the daemon went away during {operation.name}: the position{whose} may have moved on",
            hint="give an offset to read again",
        ) from error
