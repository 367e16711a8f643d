"""Sessions around fake children, for timing and failure edges: nothing here touches a process."""

from collections.abc import Callable
from typing import Any

import trio

from ptybridge import config
from ptybridge.core.child import Child, ChildSpec
from ptybridge.core.eventlog import EventLog
from ptybridge.core.labels import Labels
from ptybridge.core.limits import Limits
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions, SessionSpec
from ptybridge.core.transcript import Transcript
from ptybridge.keeper.ring import Ring
from ptybridge.model import Event
from ptybridge.testing.fake_child import FakeChild

RING_BYTES = 1 << 16


class FakeWorld:
    """A registry whose programs are fakes: `children` has them in the order in which they were made."""

    def __init__(self, limits: config.Daemon | None = None, child: Callable[[], FakeChild] = FakeChild) -> None:
        self.children: list[FakeChild] = []
        self.events = EventLog()
        self.fail: Exception | None = None
        self._child = child
        self.sessions = Sessions(
            {"pty": self._spawn, "pipes": self._spawn},
            self.events,
            limits or config.Daemon(),
            config.Session(scrollback_lines=1000),
        )

    async def _spawn(self, spec: ChildSpec) -> tuple[Child, Transcript]:
        await trio.lowlevel.checkpoint()
        if self.fail is not None:
            raise self.fail
        child = self._child()
        child.pid = child.pgid = 1_000_001 + len(self.children)
        self.children.append(child)
        return child, Transcript(Ring.anonymous(max(RING_BYTES, min(spec.capacity, RING_BYTES))))

    async def create(self, *, labels: Labels | None = None, **limits: Any) -> tuple[Session, FakeChild]:
        """Create a session; return it with its fake."""
        session = await self.sessions.create(
            SessionSpec(command=["fake"], cwd="/"), labels or Labels(), Limits(**limits), "uid:0"
        )
        return session, self.children[-1]

    def told(self, session: Session | None = None) -> list[Event]:
        """Return the events so far, of one session."""
        return [one for one in self.events.after(0) if session is None or one.session_id == session.session_id]

    def types(self, session: Session | None = None) -> list[str]:
        """Return the types of the events so far."""
        return [type(one).__name__ for one in self.told(session)]


def printed(session: Session) -> bytes:
    """Return what is kept of the output."""
    return session.log.read(session.log.start, session.log.end - session.log.start)[1]
