"""What daemons may ask of the keeper: one method per operation of `protocol`'s table."""

import json
import os
import signal
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ptybridge import __version__
from ptybridge.keeper.process import Keeper, Peer, log
from ptybridge.keeper.protocol import (
    KINDS,
    OVERFLOWS,
    PROTOCOL,
    KeeperError,
    Message,
    SessionInfo,
    close_all,
    describe_error,
    raise_error,
)
from ptybridge.keeper.ring import create_memfd, create_segments_memfd
from ptybridge.keeper.runtime import RefusedError
from ptybridge.keeper.session import KeptSession, make_wake
from ptybridge.keeper.spawn import Born, Program, spawn_pipes, spawn_pty
from ptybridge.keeper.upgrade import Upgrade

_DEFAULT_CAPACITY = 1 << 20
_DEFAULT_RECORDS = 4096
_MAX_CAPACITY = 1 << 36
# Notes are small facts for finding one's way after a restart, not a store.
_MAX_NOTE_BYTES = 1 << 20
# What an observer, or a daemon that has been superseded, may still ask.
_HARMLESS = frozenset({"hello", "list", "notes"})


class Answer(NamedTuple):
    """An answer and the descriptors to send with it, which stay ours."""

    body: dict[str, object]
    fds: list[int]


class Requests:
    """Answers the requests that arrive at a keeper."""

    def __init__(self, keeper: Keeper, upgrade: Upgrade) -> None:
        self._keeper = keeper
        self._upgrade = upgrade
        self._operations: dict[str, Callable[[Peer, Message], Answer | None]] = {
            "hello": self._hello,
            "spawn": self._spawn,
            "attach": self._attach,
            "adopt": self._adopt,
            "room": self._room,
            "pump": self._pump,
            "policy": self._policy,
            "kill": self._kill,
            "close_input": self._close_input,
            "forget": self._forget,
            "note": self._note,
            "notes": self._notes,
            "list": self._list,
            "rebind": self._rebind,
            "upgrade": self._begin_upgrade,
        }

    def dispatch(self, peer: Peer) -> None:
        """Receive one message and answer it. Raises OSError and KeeperError when the connection is of no use."""
        message = peer.channel.receive()
        if message is None:
            self._keeper.drop(peer)
            return
        number = message.body.get("id")
        try:
            answer = self._answer(peer, message)
        except Exception as error:
            # Nothing a daemon says may end the keeper. What is neither a refusal nor the system's answer is a
            # parameter that is missing or of another type, or a mistake of ours.
            if not isinstance(error, (KeeperError, OSError, ValueError, KeyError, TypeError)):
                log(f"{message.body.get('op')}: {traceback.format_exc()}")
            self._keeper.send(peer, {"id": number, "error": describe_error(error)})
            return
        finally:
            message.close()
        if answer is not None:
            self._keeper.send(peer, {"id": number, **answer.body}, answer.fds)

    def _answer(self, peer: Peer, message: Message) -> Answer | None:
        name = message.body.get("op")
        operation = self._operations.get(name) if isinstance(name, str) else None
        if operation is None:
            raise KeeperError("invalid", f"unknown operation {name!r}")
        # A daemon that speaks no protocol of ours can only want a keeper of its version; not from under another one.
        alone = name == "upgrade" and not any(other.epoch for other in self._keeper.peers.values())
        if name not in _HARMLESS and not alone and (not peer.epoch or peer.epoch != self._keeper.epoch):
            raise KeeperError("inactive", "only the active daemon may do this")
        return operation(peer, message)

    # -- connections ----------------------------------------------------------------------------------------

    def _hello(self, peer: Peer, message: Message) -> Answer:
        keeper = self._keeper
        low, high = message.body["proto"]
        version = min(high, PROTOCOL[1])
        if version < max(low, PROTOCOL[0]):
            raise KeeperError("protocol", f"the keeper speaks {PROTOCOL}, not {[low, high]}")
        self._claim(peer, message.body.get("epoch", 0))
        if peer.epoch:
            # Numbers of sessions that this daemon still has to hand over.
            keeper.next_sid = max(keeper.next_sid, int(message.body.get("above", 0)) + 1)
        body: dict[str, object] = {
            "proto": version,
            "keeper_version": __version__,
            "exact": keeper.pump.exact,
            "activated": keeper.activated,
            "lends": keeper.pump.exact,
            "epoch": peer.epoch,
            "pid": os.getpid(),
            "generation": keeper.generation,
            **self._list(peer, message).body,
        }
        return Answer(body, [keeper.listener.fileno(), *keeper.pump.fds] if peer.epoch else [])

    def _claim(self, peer: Peer, epoch: int | None) -> None:
        keeper = self._keeper
        if epoch == 0:
            return
        if epoch is not None and epoch < keeper.epoch:
            raise KeeperError("stale", f"epoch {epoch} is over, the keeper is in {keeper.epoch}")
        before = [other for other in keeper.peers.values() if other is not peer and other.epoch]
        for other in before:
            keeper.hear_out(other)
        peer.epoch = keeper.epoch = keeper.epoch + 1 if epoch is None else epoch
        for other in before:
            if other in keeper.peers.values():
                keeper.send(other, {"event": "superseded", "epoch": peer.epoch})
                keeper.drop(other)
        keeper.daemon_came()

    def _list(self, _peer: Peer, _message: Message) -> Answer:
        return Answer({"sessions": [session.info()._asdict() for session in self._keeper.sessions.values()]}, [])

    def _rebind(self, _peer: Peer, _message: Message) -> Answer:
        if self._keeper.activated:
            raise KeeperError("conflict", "the sockets belong to the service manager")
        try:
            self._keeper.rebind()
        except RefusedError as error:
            raise KeeperError("conflict", str(error)) from error
        return Answer({}, [self._keeper.listener.fileno()])

    def _begin_upgrade(self, peer: Peer, message: Message) -> None:
        self._upgrade.begin(peer, message.body.get("id"), message.body.get("argv"))

    # -- sessions -------------------------------------------------------------------------------------------

    def _spawn(self, _peer: Peer, message: Message) -> Answer:
        body = message.body
        kind, overflow = _choice(body, "kind", KINDS), _choice(body, "overflow", OVERFLOWS)
        capacity, records = body.get("capacity", _DEFAULT_CAPACITY), body.get("records", _DEFAULT_RECORDS)
        if not (0 < capacity <= _MAX_CAPACITY and 0 < records <= _MAX_CAPACITY >> 8):
            raise KeeperError("invalid", f"a ring of {capacity} bytes and {records} runs")
        program = Program(body["argv"], body["cwd"], body["env"], self._keeper.limits)
        if kind == "pty":
            rows, cols = body["rows"], body["cols"]
            if not (0 < rows < 1 << 16 and 0 < cols < 1 << 16):
                raise KeeperError("invalid", f"a terminal of {rows} rows and {cols} columns")
            born = spawn_pty(program, rows, cols, echo=body.get("echo", True))
        else:
            born = spawn_pipes(program)
        session = self._make_session(born, kind, overflow, capacity, records)
        self._keeper.add(session)
        return _with_descriptors(session)

    def _make_session(self, born: Born, kind: str, overflow: str, capacity: int, records: int) -> KeptSession:
        fds = born.fds
        try:
            fds["process"] = os.pidfd_open(born.pid)
            fds["ring"] = create_memfd(capacity)
            if kind == "pipes":
                fds["segments"] = create_segments_memfd(records)
            fds["wake"] = make_wake()
            return KeptSession(SessionInfo(self._keeper.next_sid, kind, born.pid, overflow), fds)
        except BaseException:
            close_all(fds.values())
            os.kill(born.pid, signal.SIGKILL)
            os.waitpid(born.pid, 0)
            raise

    def _attach(self, _peer: Peer, message: Message) -> Answer:
        session = self._session(message)
        session.renew_wake()
        return _with_descriptors(session)

    def _adopt(self, _peer: Peer, message: Message) -> Answer:
        raise_error(message.body)
        info = SessionInfo.from_body(message.body["info"])
        names = message.body["names"]
        if info.sid in self._keeper.sessions or info.sid < 1:
            raise KeeperError("conflict", f"there is a session {info.sid} already")
        if len(names) != len(message.fds) or info.overflow not in OVERFLOWS:
            raise KeeperError("invalid", f"{len(message.fds)} descriptors for {names}")
        session = KeptSession(info, dict(zip(names, message.fds, strict=True)))
        message.fds.clear()
        self._keeper.add(session)
        # In the same step: a session that its daemon does not live to describe would be nobody's.
        for key, data in message.body.get("notes", {}).items():
            self._keeper.notes[info.sid, str(key)] = data
        return Answer({"info": session.info()._asdict()}, [])

    def _room(self, _peer: Peer, message: Message) -> Answer:
        self._keeper.resume(self._session(message))
        return Answer({}, [])

    def _pump(self, peer: Peer, message: Message) -> Answer:
        session = self._session(message)
        if message.body.get("on", True):
            self._keeper.lend(session, peer)
        elif session.lent_to is peer:
            self._keeper.take_back(session)
        return Answer({}, [])

    def _policy(self, _peer: Peer, message: Message) -> Answer:
        session = self._session(message)
        session.overflow = _choice(message.body, "overflow", OVERFLOWS)
        self._keeper.resume(session)
        return Answer({"info": session.info()._asdict()}, [])

    def _kill(self, _peer: Peer, message: Message) -> Answer:
        session = self._session(message)
        # Through the pidfd: the pid of a reaped child may belong to somebody else by now.
        signal.pidfd_send_signal(session.fds["process"], message.body["signal"])
        return Answer({}, [])

    def _close_input(self, _peer: Peer, message: Message) -> Answer:
        self._session(message).close_input()
        return Answer({}, [])

    def _forget(self, _peer: Peer, message: Message) -> Answer:
        session = self._session(message)
        if not session.exited and not message.body.get("force", False):
            raise KeeperError("conflict", f"session {session.sid} still runs")
        self._keeper.remove(session)
        return Answer({}, [])

    def _session(self, message: Message) -> KeptSession:
        sid = message.body["sid"]
        session = self._keeper.sessions.get(sid)
        if session is None:
            raise KeeperError("not_found", f"there is no session {sid}")
        return session

    # -- notes ----------------------------------------------------------------------------------------------

    def _note(self, _peer: Peer, message: Message) -> Answer:
        place, data = (message.body["sid"], str(message.body.get("key", ""))), message.body["data"]
        if place[0] != 0:
            self._session(message)
        if len(json.dumps(data)) > _MAX_NOTE_BYTES:
            raise KeeperError("invalid", f"a note of more than {_MAX_NOTE_BYTES} bytes")
        if data is None:
            self._keeper.notes.pop(place, None)
        else:
            self._keeper.notes[place] = data
        return Answer({}, [])

    def _notes(self, _peer: Peer, _message: Message) -> Answer:
        return Answer({"notes": [[sid, key, data] for (sid, key), data in self._keeper.notes.items()]}, [])


def _choice(body: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    """Return a parameter that must be one of a few words; the first of them if it is missing."""
    value = body.get(name, allowed[0])
    if value not in allowed:
        raise KeeperError("invalid", f"{name} must be one of {allowed}, not {value!r}")
    return str(value)


def _with_descriptors(session: KeptSession) -> Answer:
    names = session.names
    return Answer({"info": session.info()._asdict(), "names": names}, [session.fds[name] for name in names])
