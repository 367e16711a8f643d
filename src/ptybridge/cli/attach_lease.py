"""The lease from within an attachment: one key takes it and gives it back, to whom it was taken from."""

from collections.abc import Callable
from typing import Final

from ptybridge.api.lease import (
    ACQUIRE,
    GET,
    HANDOFF,
    RELEASE,
    TAKEOVER,
    Acquire,
    GetLease,
    Handoff,
    Release,
    Takeover,
)
from ptybridge.sdk.blocking import Connection
from ptybridge.text import printable

ANSWER_SECONDS: Final = 3.0
TAKEN: Final = "taken at the terminal"
GIVEN_BACK: Final = "handed back at the terminal"


class Pen:
    """What one attachment does with its session's lease. All methods call the daemon and raise PtybridgeError.

    `connect` must not start a daemon. `client_id` is the attachment's.
    """

    def __init__(self, connect: Callable[[], Connection], session_id: str, client_id: str) -> None:
        self._connect = connect
        self._session_id = session_id
        self._client_id = client_id
        self._taken = False
        self._taken_from: str | None = None

    def toggle(self) -> str:
        """Take the lease or give it back; return what to tell the user."""
        return self._change(give_back=True)

    def take(self) -> str:
        """Take the lease unless it is ours already; return what to tell the user."""
        return self._change(give_back=False)

    def leave(self) -> None:
        """Give back what was taken here, so that nobody is kept out by somebody who has left."""
        if self._taken:
            with self._connect() as connection:
                if (
                    connection.call(GET, GetLease(session_id=self._session_id), ANSWER_SECONDS).client_id
                    == self._client_id
                ):
                    self._give_back(connection)

    def _change(self, *, give_back: bool) -> str:
        with self._connect() as connection:
            lease = connection.call(GET, GetLease(session_id=self._session_id), ANSWER_SECONDS)
            if lease.client_id == self._client_id:
                return self._give_back(connection) if give_back else "only you can type"
            if lease.client_id is None:
                acquire = Acquire(session_id=self._session_id, client_id=self._client_id)
                connection.call(ACQUIRE, acquire, ANSWER_SECONDS)
                self._taken, self._taken_from = True, None
                return "only you can type now; the same key gives the lease back"
            takeover = Takeover(
                session_id=self._session_id,
                from_client_id=lease.client_id,
                reason=TAKEN,
                client_id=self._client_id,
            )
            connection.call(TAKEOVER, takeover, ANSWER_SECONDS)
            # One that is gone could not give it back to anybody else.
            self._taken, self._taken_from = True, None if lease.holder_gone else lease.client_id
            return f"taken over from {printable(lease.client_id)}: only you can type; the same key gives it back"

    def _give_back(self, connection: Connection) -> str:
        to, self._taken, self._taken_from = self._taken_from, False, None
        if to is None:
            release = Release(session_id=self._session_id, client_id=self._client_id)
            connection.call(RELEASE, release, ANSWER_SECONDS)
            return "lease given back: everybody can type"
        handoff = Handoff(
            session_id=self._session_id, target_client_id=to, reason=GIVEN_BACK, client_id=self._client_id
        )
        connection.call(HANDOFF, handoff, ANSWER_SECONDS)
        return f"lease handed back to {printable(to)}"
