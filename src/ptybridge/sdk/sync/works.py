# Made from `sdk/aio` by `make docs`; do not edit.
"""Long work on files that the daemon does: waited for, with its progress."""

from collections.abc import Callable
from typing import Any, TypeVar

from ptybridge.api.archive import FileProgress
from ptybridge.api.operation import Operation, Params
from ptybridge.errors import ConnectionLost
from ptybridge.sdk.sync.link import Link

T = TypeVar("T")
# Called with how far the daemon is, a few times a second.
WorkProgress = Callable[[FileProgress], None]


def worked(
    link: Link, operation: Operation[Any, Any], params: Params, kind: type[T], progress: WorkProgress | None
) -> T:
    """Run a stream of progress to its end and return its result, an event of `kind`."""
    with link.stream(operation, params) as events:
        for event in events:
            if isinstance(event, kind):
                return event
            if progress is not None and isinstance(event, FileProgress):
                progress(event)
    raise ConnectionLost(f"the daemon has ended before {operation.name} was done", hint="nothing was left; do it again")
