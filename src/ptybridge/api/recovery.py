"""Finding sessions in tmux again whose daemon is gone."""

from typing import Final

from ptybridge.api.operation import Effect, Params, Result, declare
from ptybridge.api.session import Label, SessionInfo
from ptybridge.errors import Conflict, NameTaken, SessionNotFound, Unavailable, UnsafePath


class Recover(Params):
    """Take up a session in tmux, and with it all others of its workspace, whose daemon has ended.

    All of them or none: a pane that is gone, a program that has ended or a name that is taken changes nothing.
    They keep their ids, labels and limits, and come back without anybody attached. The transcript begins anew,
    at a higher offset, with what tmux still shows.
    """

    name: Label
    owner: Label


class Recovered(Result):
    """The session. `already_live`: there was nothing to recover, and so the last three fields are null.

    `recovery_group_key` names what was recovered together, `recovery_group_session_ids` are the sessions, sorted.
    """

    session: SessionInfo
    already_live: bool
    recovered_at_ms: int | None
    recovery_group_key: str | None
    recovery_group_session_ids: list[str] | None


RECOVER: Final = declare(
    "session.recover",
    Recover,
    Recovered,
    scope="session:create",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(SessionNotFound, Conflict, NameTaken, Unavailable, UnsafePath),
    http="POST /v1/sessions/recover",
)
