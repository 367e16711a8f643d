"""What of a call may be made again, and when: one decision for both clients."""

import random
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ptybridge.api import file, session
from ptybridge.api.operation import Effect, Operation, Params
from ptybridge.errors import ConnectionLost, DaemonUnreachable, PtybridgeError, RequestTimeout
from ptybridge.sdk.repeats import TimeLeft, require_repeatable
from ptybridge.sdk.settings import Settings

# They take as long as there is to copy or to look through.
UNLIMITED: Final = frozenset(
    one.name for one in (file.COPY, file.MOVE, file.DELETE, file.SEARCH, file.INFO, session.CLOSE_ALL)
)


def answer_within(operation: Operation[Any, Any], params: Params, settings: Settings) -> float | None:
    """Return how many seconds to wait for the answer, None for ever: the call's own time and that of a request."""
    if settings.request_timeout is None or operation.name in UNLIMITED:
        return None
    extra = 0.0
    for name in ("timeout_ms", "grace_ms"):
        own = getattr(params, name, 0)
        if own is None:
            return None
        # The ladder of closing has three steps.
        extra += own / 1000 * (3 if name == "grace_ms" else 1)
    return extra + settings.request_timeout


def complete(params: Any, fill: Mapping[str, Any]) -> Any:
    """Return the parameters with what the client knows by itself (directory, environment, client id) filled in."""
    missing = {
        name: value
        for name, value in fill.items()
        if name in params.__struct_fields__ and getattr(params, name) is None
    }
    return msgspec.structs.replace(params, **missing) if missing else params


class Attempts:
    """The attempts at one call. `params` are those of the next one, with what is left of its time."""

    def __init__(self, operation: Operation[Any, Any], params: Any, settings: Settings) -> None:
        self.params = params
        self._operation = operation
        self._settings = settings
        self._made = 0
        self._pause = settings.retry_initial
        self._left = TimeLeft(params)

    def pause_after(self, error: PtybridgeError) -> float:
        """Return how many seconds to wait before the next attempt; raises `error`, or what it means, if there is none.

        Only what reads is repeated, and what reads from a position the daemon keeps only if it was not carried out.
        """
        self._made += 1
        if not error.retryable or isinstance(error, RequestTimeout):
            raise error
        if isinstance(error, ConnectionLost):
            require_repeatable(self._operation, self.params, error)
        elif isinstance(error, DaemonUnreachable):
            raise error  # the link has been patient already
        if self._operation.effect is not Effect.READS or self._made >= self._settings.retry_attempts:
            raise error
        pause = self._pause * (1 + self._settings.retry_jitter * random.uniform(-1, 1))
        self._pause = min(self._pause * self._settings.retry_multiplier, self._settings.retry_max)
        asked = error.data.get("retry_after_ms")
        if isinstance(asked, int | float):
            pause = max(pause, asked / 1000)
        self.params = self._left.remaining(self.params)
        return pause
