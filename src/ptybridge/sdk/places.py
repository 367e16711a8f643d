"""Where a stream is, so that it can be opened again just behind what it has given."""

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from ptybridge.api import attach, event, watch
from ptybridge.api.operation import Params


class Place(Protocol):
    """`params` open the stream behind what `pass_on` has let through."""

    params: Any

    def opened(self, answer: Any) -> None: ...
    def pass_on(self, event: Any) -> Iterator[Any]: ...


class OutputPlace:
    """In a session's output. A resumed stream tells exits and sizes again, of which one each is enough."""

    def __init__(self, params: attach.Follow) -> None:
        self.params = params
        self._exited = False
        self._size: attach.ResizedEvent | None = None

    def opened(self, answer: attach.Following) -> None:
        self.params = msgspec.structs.replace(self.params, offset=answer.offset)

    def pass_on(self, event: Any) -> Iterator[Any]:
        match event:
            case attach.OutputEvent():
                self.params = msgspec.structs.replace(self.params, offset=event.next_offset)
            case attach.GapEvent():
                self.params = msgspec.structs.replace(self.params, offset=event.to_offset)
            case attach.ResizedEvent():
                if event == self._size:
                    return
                self._size = event
            case attach.ExitedEvent():
                if self._exited:
                    if event.output_closed:
                        yield attach.OutputClosedEvent(end_offset=event.end_offset)
                    return
                self._exited = True
        yield event


class EventPlace:
    """In the events of all sessions."""

    def __init__(self, params: event.FollowEvents) -> None:
        self.params = params

    def opened(self, answer: event.FollowingEvents) -> None:
        if self.params.after is None:
            self.params = msgspec.structs.replace(self.params, after=answer.number)

    def pass_on(self, event: Any) -> Iterator[Any]:
        self.params = msgspec.structs.replace(self.params, after=event.number)
        yield event


class WatchPlace:
    """In what happens to files. A resumed stream begins with a gap, for nobody has watched meanwhile."""

    def __init__(self, params: watch.WatchFiles) -> None:
        self.params = params

    def opened(self, answer: watch.WatchingFiles) -> None:
        self.params = msgspec.structs.replace(self.params, after=answer.number)

    def pass_on(self, event: Any) -> Iterator[Any]:
        self.params = msgspec.structs.replace(self.params, after=event.number)
        yield event


def place_of(params: Params) -> Place:
    """Return where the stream of these parameters begins. Raises TypeError for one that cannot be resumed."""
    match params:
        case attach.Follow():
            return OutputPlace(params)
        case event.FollowEvents():
            return EventPlace(params)
        case watch.WatchFiles():
            return WatchPlace(params)
    raise TypeError(f"{type(params).__name__} opens no stream that can be resumed")
