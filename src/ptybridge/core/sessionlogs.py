"""The logs of all sessions: where they lie, and who hears of which event."""

import logging
import os
from typing import TYPE_CHECKING, Final

import trio

from ptybridge import config
from ptybridge.core import logfiles
from ptybridge.core.memory import SavedLog
from ptybridge.core.redaction import Secrets
from ptybridge.core.sessionlog import LogLimits, SessionLog
from ptybridge.errors import InvalidParams
from ptybridge.model import Event

if TYPE_CHECKING:
    from ptybridge.core.session import Session

log = logging.getLogger(__name__)

# A disk writes one thing at a time; a second thread redacts meanwhile, and another is left when one of them hangs.
THREADS: Final = 3


class SessionLogs:
    """Makes logs. `default_dir` of the configuration is where sessions are logged that do not say."""

    def __init__(self, defaults: config.Session, secrets: Secrets) -> None:
        self._default_dir = defaults.log_dir or ""
        self._limits = LogLimits(defaults.log_file_bytes, defaults.log_file_count)
        self._secrets = secrets
        self._threads = trio.CapacityLimiter(THREADS)
        self._by_session: dict[str, SessionLog] = {}

    def wanted(self, log_dir: str | None) -> bool:
        """Tell whether a session for which this was asked gets a log."""
        return bool(self._default_dir if log_dir is None else log_dir)

    async def make_directory(self, session_id: str, log_dir: str | None) -> str | None:
        """Make the directory of a new session's log, if it is to have one. Raises `InvalidParams`."""
        base = self._default_dir if log_dir is None else log_dir
        if not base:
            return None
        if not os.path.isabs(base) or "\0" in base:
            raise InvalidParams(f"log_dir must be an absolute path, not {base[:200]!r}")
        try:
            return await trio.to_thread.run_sync(logfiles.make_directory, base, session_id, limiter=self._threads)
        except OSError as exc:
            raise InvalidParams(
                f"cannot make the directory of the session's log below {base[:200]!r}: {exc.strerror}",
                hint="name a directory you may write to, or leave log_dir out",
            ) from exc

    def start(self, nursery: trio.Nursery | None, session: "Session", saved: SavedLog) -> SessionLog:
        """Give a session a log, which goes on where it was left, and write it in `nursery`."""
        assert nursery is not None
        journal = session.journal = SessionLog(
            session.session_id,
            session.log,
            saved,
            limits=self._limits,
            secrets=self._secrets,
            threads=self._threads,
        )
        self._by_session[session.session_id] = journal
        journal.on_saved = session.saver.log
        session.input.on_accepted = journal.wrote
        session.saver.log(saved)
        nursery.start_soon(self._keep, session.session_id, journal)
        return journal

    async def _keep(self, session_id: str, journal: SessionLog) -> None:
        try:
            await journal.run()
        except Exception:
            log.exception("the log of session %s failed; the session goes on", session_id)

    def of(self, session_id: str | None) -> SessionLog | None:
        """Return a session's log, None when it has none."""
        return self._by_session.get(session_id) if session_id is not None else None

    def heard(self, event: Event) -> None:
        """Pass an event on to the log of its session."""
        journal = self.of(event.session_id)
        if journal is not None:
            journal.heard(event)
            if journal.ending and event.session_id is not None:
                del self._by_session[event.session_id]

    async def end(self, within: float) -> None:
        """Write what is left of all logs, within so many seconds."""
        with trio.move_on_after(within):
            for journal in self._by_session.values():
                journal.end()
            for journal in list(self._by_session.values()):
                await journal.wait_ended()
