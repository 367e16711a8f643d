"""Tells sessions' logs of the operations that no event tells of: reading, and signals. The one place that does."""

import msgspec

from ptybridge.api import session as session_api
from ptybridge.api import terminal as terminal_api
from ptybridge.api.registry import AnyOperation
from ptybridge.core.sessions import Sessions
from ptybridge.model import Caller


class Journal:
    """Called by the dispatcher after each call that was answered."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def __call__(self, caller: Caller, operation: AnyOperation, params: msgspec.Struct, answer: msgspec.Struct) -> None:
        """Write the call down, if its session has a log and it is of those that belong there."""
        journal = self._sessions.logs.of(getattr(params, "session_id", None))
        if journal is None:
            return
        client_id = getattr(params, "client_id", None) or caller.client_id
        if isinstance(answer, terminal_api.Output | terminal_api.ReadUntilResult):
            size = answer.next_offset - answer.offset
            if size:
                journal.note("read", bytes=size, offset=answer.offset, client_id=client_id)
        elif isinstance(params, session_api.Signal):
            journal.note("signal", signal=params.signal, target=params.target, client_id=client_id)
