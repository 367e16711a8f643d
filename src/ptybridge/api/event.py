"""Operations on events: what happened to all sessions, numbered and resumable."""

from typing import Annotated, Final, get_args

import msgspec

from ptybridge.api.operation import Params, Result, SessionId, declare_stream
from ptybridge.model import AnyEvent


class FollowEvents(Params):
    """Follow events: created, exited, attached, resized, title, bell, idle, waiting for input and so on.

    `after`: resume behind this number (a `gap` event tells when some are gone); without it only new events come.
    `session_id` and `types` narrow the stream.
    """

    after: Annotated[int, msgspec.Meta(ge=0)] | None = None
    session_id: SessionId | None = None
    types: list[str] | None = None


class FollowingEvents(Result):
    """The stream is open; `number` is that of the newest event so far."""

    number: int


FOLLOW: Final = declare_stream(
    "event.follow",
    FollowEvents,
    FollowingEvents,
    scope="event:read",
    since="0.1",
    events=get_args(AnyEvent),
    http="GET /v1/events",
)
