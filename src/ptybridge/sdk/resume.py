"""Calls and streams that outlive the daemon: what is safe to repeat goes on where it was when there is one again.

How it works: when a connection ends, `come_back` gives a new one; it waits while the daemon is being replaced, and
starts one when its sessions are kept and nobody serves them. A call that only reads is made again there with the
time that is left, a stream is opened again behind the last thing it gave. A call that changes something is never
made twice: it fails, saying that nobody knows whether it was done.
"""

import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, Generic, TypeVar

import msgspec

from ptybridge import __version__
from ptybridge.api.node import INFO, PROTOCOL, PROTOCOL_MIN, GetInfo, NodeInfo
from ptybridge.api.operation import Operation, Params
from ptybridge.config import Config
from ptybridge.errors import (
    ConnectionLost,
    DaemonUnreachable,
    InvalidParams,
    MethodNotFound,
    PtybridgeError,
    SessionNotFound,
    VersionMismatch,
)
from ptybridge.sdk.blocking import Connection, Stream, connect
from ptybridge.sdk.places import place_of
from ptybridge.sdk.repeats import TimeLeft, gone_with_daemon, require_repeatable

# How long a daemon may be away before its clients give up. A restart takes half a second.
PATIENCE_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.05
# The question who the other side is must not make an error wait.
INFO_SECONDS: Final = 2.0

A = TypeVar("A")
P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=msgspec.Struct)
Q = TypeVar("Q", bound=Params)
ComeBack = Callable[[], Connection]


def come_back(config: Config, announce: Callable[[str], None], patience: float = PATIENCE_SECONDS) -> Connection:
    """Connect to the daemon that follows one that has gone.

    Starts it only where a keeper has sessions and that is allowed: a daemon that was stopped stays stopped. Raises
    `ConnectionLost` when there is none after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return connect(config.paths.socket)
        except DaemonUnreachable as exc:
            if exc.data.get("kept") and config.daemon.autostart:
                from ptybridge.sdk.autostart import ensure_daemon  # rarely needed, and it takes time to import

                return ensure_daemon(config, announce=announce)
            if time.monotonic() >= deadline:
                raise ConnectionLost(
                    f"the daemon has gone away, and none has come back within {patience:g} s",
                    hint="`ptybridge doctor` tells what is left of it",
                ) from exc
        time.sleep(POLL_SECONDS)


class Client:
    """Calls over one connection at a time. Without `come_back` a lost connection stays lost."""

    def __init__(self, connection: Connection, come_back: ComeBack | None = None) -> None:
        self.connection = connection
        self._come_back = come_back
        # Where reads without an offset have got to: the daemon forgets that with the connection.
        self._positions: dict[tuple[str, str | None], int] = {}

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def call(self, operation: Operation[P, R], params: P, timeout: float | None = None) -> R:
        """Call an operation and wait for its answer, at most `timeout` seconds for each attempt.

        Raises `PtybridgeError`: `ConnectionLost` when it is not known whether something was done.
        """
        return self._call(operation, params, lambda params: self.connection.call(operation, params, timeout))

    def call_raw(self, operation: Operation[P, Any], params: P, given: Collection[str]) -> Any:
        """As `call`, with those of the parameters that were given; return the answer as plain JSON values."""

        def ask(params: P) -> Any:
            sent = {name: getattr(params, name) for name in given}
            return self.connection.call_raw(operation.name, sent)

        return self._call(operation, params, ask)

    def _call(self, operation: Operation[P, Any], params: P, ask: Callable[[P], A]) -> A:
        left = TimeLeft(params)
        repeated = False
        if self.connection.ended:
            self._reconnect()  # nothing has been sent yet, so this is safe for every call
        while True:
            try:
                answer = ask(params)
            except ConnectionLost as exc:
                self._require_repeatable(operation, params, exc)
                self._reconnect()
                params = left.remaining(self._from_position(params))
                repeated = True
            except SessionNotFound as exc:
                if not repeated:
                    raise
                raise gone_with_daemon(exc) from exc
            except (MethodNotFound, InvalidParams, VersionMismatch) as exc:
                if (explained := self._explain(exc)) is exc:
                    raise
                raise explained from exc
            else:
                self._note_position(params, answer)
                return answer

    def stream(self, operation: Operation[P, R], params: P) -> "ResumingStream[R]":
        """Open a stream on a connection of its own that goes on after the daemon was replaced."""
        if self._come_back is None:
            raise TypeError("a client that cannot connect again cannot open streams")
        return ResumingStream(self._come_back, operation, params)

    # -- going on -------------------------------------------------------------------------------------------

    def _reconnect(self) -> None:
        self.connection.close()
        if self._come_back is None:
            raise ConnectionLost("the daemon has gone away")
        self.connection = self._come_back()

    def _require_repeatable(self, operation: Operation[P, R], params: P, exc: PtybridgeError) -> None:
        if self._come_back is None:
            raise exc
        require_repeatable(operation, params, exc, knows_positions=True)

    def _from_position(self, params: P) -> P:
        known = self._positions.get(_position_key(params))
        if known is None or getattr(params, "offset", 0) is not None:
            return params
        return msgspec.structs.replace(params, offset=known)

    def _note_position(self, params: P, answer: Any) -> None:
        if getattr(params, "offset", 0) is not None:
            return
        offset = getattr(answer, "next_offset", None)
        if offset is None and getattr(answer, "match", None) is not None:
            offset = getattr(answer, "offset", None)
        if offset is not None:
            self._positions[_position_key(params)] = offset

    # -- versions -------------------------------------------------------------------------------------------

    def _explain(self, exc: PtybridgeError) -> PtybridgeError:
        """Return what to raise for a call the daemon did not understand: if it is another version, that is why."""
        try:
            found = self.connection.call_raw(INFO.name, msgspec.to_builtins(GetInfo()), INFO_SECONDS)
            info = msgspec.convert(found, _Version)
        except (PtybridgeError, msgspec.ValidationError, OSError):
            return exc
        return explain(exc, info)


class _Version(msgspec.Struct):
    """What every daemon says of itself, of whatever version."""

    version: str
    protocol: int
    protocol_min: int


def explain(exc: PtybridgeError, daemon: _Version | NodeInfo) -> PtybridgeError:
    """Return `exc` with a hint when `daemon` is of another version, or a `VersionMismatch` when that must fail."""
    newer = "bring this program to the daemon's version"
    if daemon.protocol < PROTOCOL_MIN or daemon.protocol_min > PROTOCOL:
        older = daemon.protocol < PROTOCOL_MIN
        return VersionMismatch(
            f"the daemon (version {daemon.version}) speaks protocol {_span(daemon.protocol_min, daemon.protocol)}, "
            f"this program (version {__version__}) {_span(PROTOCOL_MIN, PROTOCOL)}",
            hint="`ptybridge upgrade` brings the daemon to the installed version" if older else newer,
        )
    if daemon.version != __version__:
        exc.hint = (
            f"the daemon is version {daemon.version} and this program {__version__}: "
            f"`ptybridge upgrade` brings the daemon to the installed one"
        )
    return exc


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _position_key(params: Params) -> tuple[str, str | None]:
    return getattr(params, "session_id", ""), getattr(params, "stream", None)


# -- streams ------------------------------------------------------------------------------------------------


class ResumingStream(Generic[R]):
    """An open stream, like `Stream`; `resumed` counts how often it had to be opened again."""

    def __init__(self, come_back: ComeBack, operation: Operation[Any, R], params: Params) -> None:
        self._come_back = come_back
        self._operation = operation
        self._place = place_of(params)
        self.resumed = 0
        self._stream: Stream[R, Any] = self._open(come_back())
        self.opened = self._stream.opened

    @property
    def reason(self) -> str:
        """Why the stream has ended; empty before."""
        return self._stream.reason

    def __iter__(self) -> Iterator[Any]:
        """Wait for events until the end. Raises the error the stream ends with."""
        while not self.reason:
            try:
                for one in self._stream:
                    yield from self._place.pass_on(one)
            except ConnectionLost:
                self._resume()

    def take(self) -> list[Any]:
        """Return the events that are there, waiting only while the daemon is away."""
        while True:
            try:
                found = self._stream.take()
            except ConnectionLost:
                # What came along with the new opening is not to be seen on the descriptor any more: take again.
                self._resume()
            else:
                return [one for event in found for one in self._place.pass_on(event)]

    def fileno(self) -> int:
        """Return the descriptor to wait for before `take`; it changes when the stream is resumed."""
        return self._stream.fileno()

    def close(self) -> None:
        """End the stream by closing its connection."""
        self._stream.close()

    def _resume(self) -> None:
        self._stream.close()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                # A daemon that has just come may go again at once.
                self._stream = self._open(self._come_back())
                break
            except ConnectionLost:
                if time.monotonic() >= deadline:
                    raise
            except SessionNotFound as exc:
                raise gone_with_daemon(exc) from exc
        self.resumed += 1

    def _open(self, connection: Connection) -> Stream[R, Any]:
        try:
            stream = connection.stream(self._operation, self._place.params)
        except BaseException:
            connection.close()
            raise
        self._place.opened(stream.opened)
        return stream
