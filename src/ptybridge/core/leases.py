"""Leases: the exclusive right to write to a session, who holds it, and what became of it.

How it works: a lease belongs to a `Holder`, a client's name together with the principal that gave it, so that nobody
holds anything by knowing a name. All leased sessions of one workspace belong to one holder and move together. Whether
a holder is still there is `Presence`'s to know: every connection that acted under the name counts, until it ends.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from ptybridge.errors import Conflict, LeaseHeld

LeaseEvent = Literal["acquire", "release", "handoff", "takeover"]
HINT: Final = "`ptybridge lease status` tells more, `ptybridge lease takeover` (lease.takeover) takes it"


class Holder(msgspec.Struct, frozen=True):
    """A client: its name counts only together with the principal that used it."""

    principal: str
    client_id: str


class Transfer(msgspec.Struct, frozen=True):
    """The last thing that happened to a lease; milliseconds since the epoch."""

    at_ms: int
    event: LeaseEvent
    from_client_id: str | None = None
    to_client_id: str | None = None
    reason: str | None = None


class SavedLease(msgspec.Struct, kw_only=True):
    """A lease as it outlives the daemon."""

    holder: Holder | None = None
    attached_at_ms: int | None = None
    detached_at_ms: int | None = None
    last: Transfer | None = None


class Presence:
    """Which connections are there under which name. Whoever owns connections calls `gone` when one ends."""

    def __init__(self) -> None:
        self._connections: dict[Holder, set[str]] = {}
        self._names: dict[str, set[Holder]] = {}

    def seen(self, holder: Holder, connection_id: str) -> None:
        """Note that this connection acts under the name."""
        self._connections.setdefault(holder, set()).add(connection_id)
        self._names.setdefault(connection_id, set()).add(holder)

    def gone(self, connection_id: str) -> None:
        """Note that a connection has ended."""
        for holder in self._names.pop(connection_id, ()):
            connections = self._connections[holder]
            connections.discard(connection_id)
            if not connections:
                del self._connections[holder]

    def alive(self, holder: Holder) -> bool:
        """Whether any connection is there under the name."""
        return holder in self._connections


class Lease:
    """One session's lease. `attached_at_ms` and `detached_at_ms`: when somebody last got it, and gave it back."""

    def __init__(self, presence: Presence, saved: SavedLease | None = None) -> None:
        self.presence = presence
        saved = saved or SavedLease()
        self.holder = saved.holder
        self.attached_at_ms = saved.attached_at_ms
        self.detached_at_ms = saved.detached_at_ms
        self.last = saved.last

    def saved(self) -> SavedLease:
        """Return what is to be remembered."""
        return SavedLease(
            holder=self.holder,
            attached_at_ms=self.attached_at_ms,
            detached_at_ms=self.detached_at_ms,
            last=self.last,
        )

    @property
    def holder_gone(self) -> bool:
        """Whether somebody holds it of whom no connection is left."""
        return self.holder is not None and not self.presence.alive(self.holder)

    def allows(self, client: Holder) -> bool:
        """Whether this client may write."""
        return self.holder is None or self.holder == client

    def refusal(self, session_id: str) -> LeaseHeld:
        """Return the error for somebody who does not hold it."""
        assert self.holder is not None
        gone = ", which is not connected any more," if self.holder_gone else ""
        return LeaseHeld(
            f"{self.holder.client_id!r}{gone} has the lease of session {session_id}",
            hint=HINT,
            client_id=self.holder.client_id,
            holder_gone=self.holder_gone,
        )

    # -- changes --------------------------------------------------------------------------------------------

    def move(self, holder: Holder | None, transfer: Transfer) -> None:
        """Give it to somebody, or (None) to nobody."""
        if holder is None:
            self.detached_at_ms = transfer.at_ms
        elif self.holder is None:
            self.attached_at_ms, self.detached_at_ms = transfer.at_ms, None
        self.holder, self.last = holder, transfer


Members = dict[str, Lease]


def acquire(session_id: str, members: Members, client: Holder, at_ms: int) -> list[str]:
    """Take a free lease; return the ids of the sessions whose lease changed.

    `members` are the leases of the session and of all others of its workspace, by session id. Raises `LeaseHeld` when
    another client has it, or that of another member.
    """
    lease = members[session_id]
    for other_id, other in [(session_id, lease), *members.items()]:
        if not other.allows(client):
            raise other.refusal(other_id)
    if lease.holder == client:
        return []
    lease.move(client, Transfer(at_ms, "acquire", None, client.client_id))
    return [session_id]


def release(session_id: str, members: Members, client: Holder, at_ms: int) -> list[str]:
    """Give a lease back; one that nobody has stays so. Raises `LeaseHeld` when another client has it."""
    lease = members[session_id]
    if lease.holder is None:
        return []
    if lease.holder != client:
        raise lease.refusal(session_id)
    lease.move(None, Transfer(at_ms, "release", client.client_id, None))
    return [session_id]


def transfer(
    session_id: str, members: Members, event: LeaseEvent, holder: Holder, target: Holder, reason: str, at_ms: int
) -> list[str]:
    """Move the lease, with those of all leased members, from `holder` to `target`.

    Raises `Conflict` when `holder` does not have it.
    """
    lease = members[session_id]
    if lease.holder is None:
        raise Conflict(f"nobody has the lease of session {session_id}", hint="acquire it")
    if lease.holder != holder:
        raise lease.refusal(session_id)
    if holder == target:
        return []
    moved = Transfer(at_ms, event, holder.client_id, target.client_id, reason)
    affected = leased(members)
    for one in affected:
        members[one].move(target, moved)
    return affected


def leased(members: Members) -> list[str]:
    """Return the ids of the members somebody has the lease of, sorted."""
    return sorted(one for one, lease in members.items() if lease.holder is not None)


def workspace_holder(leases: Iterable[Lease]) -> Holder | None:
    """Return who has the leases of a workspace."""
    return next((lease.holder for lease in leases if lease.holder is not None), None)
