"""The handler that takes up sessions whose daemon is gone."""

from collections.abc import Sequence
from typing import Protocol

from ptybridge.api import recovery as api
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions
from ptybridge.model import Caller
from ptybridge.service.dispatcher import handles
from ptybridge.service.facts import info


class Recoverer(Protocol):
    """What knows where sessions of other daemons are."""

    async def recover(self, name: str, owner: str) -> tuple[str, Sequence[Session]]:
        """Take up the session and its group; return the group's name and all of it, the named one first."""
        ...


class RecoveryService:
    """`session.recover`."""

    def __init__(self, sessions: Sessions, recoverer: Recoverer) -> None:
        self._sessions = sessions
        self._recoverer = recoverer

    @handles(api.RECOVER)
    async def recover(self, caller: Caller, params: api.Recover) -> api.Recovered:
        """Take up, or find that it is here."""
        for session in self._sessions.running():
            labels = session.labels
            if session.child.backend == "tmux" and (labels.name, labels.owner) == (params.name, params.owner):
                return api.Recovered(
                    session=info(self._sessions, session),
                    already_live=True,
                    recovered_at_ms=None,
                    recovery_group_key=None,
                    recovery_group_session_ids=None,
                )
        key, found = await self._recoverer.recover(params.name, params.owner)
        together = sorted(one.session_id for one in found)
        for one in found:
            if one.journal is not None:
                one.journal.note(
                    "recover",
                    session_id=one.session_id,
                    name=one.labels.name,
                    owner=one.labels.owner,
                    recovery_group_key=key,
                    recovery_group_session_ids=together,
                )
        return api.Recovered(
            session=info(self._sessions, found[0]),
            already_live=False,
            recovered_at_ms=found[0].recovered_at_ms,
            recovery_group_key=key,
            recovery_group_session_ids=together,
        )
