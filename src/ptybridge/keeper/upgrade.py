"""Replaces the keeper's program by a new one without its children noticing: execve, with all descriptors kept.

How it works: everything the new image needs is written to a memfd as JSON, descriptors by number. First a copy of it
is given to the new program as `--check`, in a process of its own, while the old one goes on: an image that starts
and then fails would be fatal. Then the descriptors are made inheritable and the image is replaced. Same pid, so
children stay ours. If execve itself fails, we are still there and say so.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ptybridge import __version__
from ptybridge.keeper.process import Keeper, Peer, log
from ptybridge.keeper.protocol import Channel, KeeperError, SessionInfo, describe_error, write_all
from ptybridge.keeper.pump import Pump
from ptybridge.keeper.ring import VERSION as RING_VERSION
from ptybridge.keeper.session import KeptSession

STATE_VERSION = 1
_CHECK_SECONDS = 20


class Upgrade:
    """Runs an upgrade beside the keeper's loop; one at a time."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._running = False

    def begin(self, peer: Peer, number: object, argv: object) -> None:
        """Check the program `argv` (None: the same interpreter and package as now) and turn into it.

        The answer to request `number` comes from the new image, or from us if it did not work out.
        """
        if argv is None:
            argv = [sys.executable, "-P", "-m", "ptybridge.keeper"]
        if not (isinstance(argv, list) and argv and all(isinstance(word, str) for word in argv)):
            raise KeeperError("invalid", "argv must be a list of strings")
        if self._running:
            raise KeeperError("conflict", "an upgrade is under way already")
        state = _state_file(self._keeper, None)
        try:
            pid = _start_check(argv, state)
            pidfd = os.pidfd_open(pid)
        finally:
            os.close(state)
        self._running = True
        self._keeper.watch(pidfd, lambda _mask: self._checked(pidfd, peer, number, argv))

    def _checked(self, pidfd: int, peer: Peer, number: object, argv: list[str]) -> None:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        self._keeper.unwatch(pidfd)
        os.close(pidfd)
        self._running = False
        error: Exception
        if result is not None and (result.si_code, result.si_status) == (os.CLD_EXITED, 0):
            try:
                _become(self._keeper, argv, [peer.channel.fileno(), number])
            except OSError as failure:
                error = failure
        else:
            error = KeeperError("upgrade", f"{argv[0]} does not accept our state; see the keeper's log")
        log(f"upgrade: {error}")
        self._keeper.send(peer, {"id": number, "error": describe_error(error)})


def check(fd: int) -> None:
    """Raise an exception unless this program can go on with the state in `fd`."""
    state = read_state(fd)
    for session in state["sessions"]:
        SessionInfo.from_body(session["info"])
        if session["ring_version"] != RING_VERSION:
            raise KeeperError("upgrade", f"a ring of version {session['ring_version']}")
    _ = state["control"], state["listener"], state["lock"], state["pump"], state["limits"], state["peers"]


def read_state(fd: int) -> dict[str, Any]:
    """Return the state another image has written."""
    state: dict[str, Any] = json.loads(os.pread(fd, os.fstat(fd).st_size, 0))
    if state["version"] > STATE_VERSION:
        raise KeeperError("upgrade", f"a state of version {state['version']} is too new")
    return state


def restore(state: Mapping[str, Any]) -> Keeper:
    """Return the keeper that another image was. All descriptors become close-on-exec again."""
    for fd in _descriptors(state):
        os.set_inheritable(fd, False)
    keeper = Keeper(
        socket.socket(fileno=state["control"]),
        socket.socket(fileno=state["listener"]),
        state["lock"],
        Pump(*state["pump"]),
        (state["limits"][0], state["limits"][1]),
    )
    keeper.epoch, keeper.next_sid = state["epoch"], state["next_sid"]
    keeper.generation = state["generation"] + 1
    keeper.activated = bool(state.get("activated", False))
    keeper.notes = {(sid, key): data for sid, key, data in state["notes"]}
    for entry in state["sessions"]:
        keeper.add(KeptSession(SessionInfo.from_body(entry["info"]), entry["fds"]))
    keeper.next_sid = max(keeper.next_sid, state["next_sid"])
    for entry in state["peers"]:
        peer = Peer(Channel(socket.socket(fileno=entry["fd"])), entry["epoch"])
        peer.pending.extend((text.encode(), fds) for text, fds in entry["pending"])
        keeper.add_peer(peer)
    keeper.allow_daemon()
    for pidfd in state["unreaped"]:
        keeper.reap_later(pidfd)
    if state["answer"] is not None:
        fd, number = state["answer"]
        if fd in keeper.peers:
            body = {"id": number, "pid": os.getpid(), "generation": keeper.generation, "keeper_version": __version__}
            keeper.send(keeper.peers[fd], body)
    return keeper


def _save(keeper: Keeper, answer: list[object] | None) -> dict[str, Any]:
    return {
        "version": STATE_VERSION,
        "control": keeper.control.fileno(),
        "listener": keeper.listener.fileno(),
        "lock": keeper.lock_fd,
        "pump": list(keeper.pump.fds),
        "limits": list(keeper.limits),
        "epoch": keeper.epoch,
        "next_sid": keeper.next_sid,
        "generation": keeper.generation,
        "activated": keeper.activated,
        "notes": [[sid, key, data] for (sid, key), data in keeper.notes.items()],
        "unreaped": sorted(keeper.unreaped),
        "sessions": [
            {"info": session.info()._asdict(), "fds": session.fds, "ring_version": RING_VERSION}
            for session in keeper.sessions.values()
        ],
        "peers": [
            {"fd": fd, "epoch": peer.epoch, "pending": [[text.decode(), fds] for text, fds in peer.pending]}
            for fd, peer in keeper.peers.items()
        ],
        "answer": answer,
    }


def _descriptors(state: Mapping[str, Any]) -> Iterator[int]:
    """Yield every descriptor a state names."""
    yield from (state["control"], state["listener"], state["lock"], *state["pump"], *state["unreaped"])
    for session in state["sessions"]:
        yield from session["fds"].values()
    for peer in state["peers"]:
        yield peer["fd"]
        for _, fds in peer["pending"]:
            yield from fds


def _state_file(keeper: Keeper, answer: list[object] | None) -> int:
    fd = os.memfd_create("ptybridge-state", os.MFD_CLOEXEC)
    write_all(fd, json.dumps(_save(keeper, answer)).encode())
    return fd


def _become(keeper: Keeper, argv: list[str], answer: list[object]) -> None:
    """Replace this image. Returns only by raising OSError, with everything as it was."""
    state = _state_file(keeper, answer)
    kept = [state, *_descriptors(read_state(state))]
    try:
        for fd in kept:
            os.set_inheritable(fd, True)
        # The new image pumps until daemons ask again; it may be one that does not know that they can pump.
        keeper.pump.allow(0)
        os.execvp(argv[0], [*argv, "--state", str(state)])
    finally:
        keeper.allow_daemon()
        for fd in kept:
            os.set_inheritable(fd, False)
        os.close(state)


def _start_check(argv: list[str], state: int) -> int:
    """Run `argv --check` in a process that ends by itself, by an alarm at the latest. Returns its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(_CHECK_SECONDS)  # survives exec
            os.set_inheritable(state, True)
            os.execvp(argv[0], [*argv, "--check", str(state)])
        except OSError as error:
            log(f"upgrade: {argv[0]}: {error}")
        finally:
            os._exit(os.EX_OSERR)
    return pid
