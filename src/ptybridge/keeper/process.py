"""The keeper's event loop: what happens at its descriptors. What daemons ask of it is in `requests`.

How it works: one thread, one epoll, callbacks that never block. An output is watched while its ring has room: when
the ring is full it is unregistered, for a hung-up terminal is reported even with an empty mask and would spin.
Everything that must outlive this process image is in descriptors; `upgrade` writes down which is which.
"""

import contextlib
import errno
import os
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from ptybridge.keeper.protocol import Channel, KeeperError, close_all, encode
from ptybridge.keeper.pump import Flow, Progress, Pump, State, end_output
from ptybridge.keeper.runtime import holds_lock, listen, prepare_directory, take_lock
from ptybridge.keeper.session import KeptSession

# How long a full ring waits for a new daemon before sessions drain: children must not hang for ever without one.
GRACE_SECONDS = 10.0
# A floor that moved at the very moment the ring was found full is noticed by looking once more.
_SECOND_LOOK_SECONDS = 0.05
_FURTHER_LOOKS_SECONDS = 1.0
# A daemon that has so many messages waiting does not read any more.
_MAX_PENDING = 20_000
# More does not fit a socket's buffer; a daemon that goes on talking is not waited for.
_MAX_HEARD = 10_000
_DRAIN_STEPS = 64
# A daemon's step takes microseconds; unless it was stopped in the middle of it.
_BUSY_SECONDS = 0.01
# How soon and how rarely to look whether a program has opened its terminal again.
_REOPEN_SECONDS = 0.05
_REOPEN_MOST_SECONDS = 1.0


class Peer:
    """A connected daemon. `epoch` 0 only looks."""

    def __init__(self, channel: Channel, epoch: int = 0) -> None:
        self.channel = channel
        self.epoch = epoch
        self.pending: deque[tuple[bytes, list[int]]] = deque()
        # It has gone, but what it said before is still to be heard.
        self.gone = False


class Keeper:
    """Holds sessions and serves daemons. Owns all descriptors it is given."""

    def __init__(
        self, control: socket.socket, listener: socket.socket, lock_fd: int, pump: Pump, limits: tuple[int, int]
    ) -> None:
        """`limits` are the RLIMIT_NOFILE for children."""
        self.control, self.listener, self.lock_fd, self.pump, self.limits = control, listener, lock_fd, pump, limits
        self.sessions: dict[int, KeptSession] = {}
        self.peers: dict[int, Peer] = {}
        self.notes: dict[tuple[int, str], object] = {}
        self.unreaped: set[int] = set()
        # Whether the sockets came from the service manager; they are not ours to remove then.
        self.activated = False
        self.epoch = 0
        self.generation = 0
        self.next_sid = 1
        self.dispatch: Callable[[Peer], None] = lambda _peer: None
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._second_look: dict[int, float] = {}
        self._reopening: dict[int, tuple[float, float]] = {}
        self._drain_at: float | None = None
        self._settle_at: float | None = None
        self._spare = os.dup(lock_fd)
        control.setblocking(False)
        self.watch(control.fileno(), self._accept)

    def run(self) -> None:
        """Serve for ever."""
        self.daemon_left()
        while True:
            ready = [(fd, mask, self._callbacks.get(fd)) for fd, mask in self._epoll.poll(self._timeout())]
            for fd, mask, callback in ready:
                # A callback before this one may have closed the descriptor, and its number may be in use again.
                if callback is not None and self._callbacks.get(fd) is callback:
                    callback(mask)
            self._look_at_clock()

    # -- descriptors ----------------------------------------------------------------------------------------

    def watch(self, fd: int, callback: Callable[[int], None], mask: int = select.EPOLLIN) -> None:
        """Call `callback(mask)` whenever `fd` is ready."""
        self._epoll.register(fd, mask)
        self._callbacks[fd] = callback

    def unwatch(self, fd: int) -> None:
        """Undo `watch`; must come before closing: a copy elsewhere would keep the registration alive."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    # -- sessions -------------------------------------------------------------------------------------------

    def add(self, session: KeptSession) -> None:
        """Begin to look after a session."""
        self.sessions[session.sid] = session
        self.next_sid = max(self.next_sid, session.sid + 1)
        self.resume(session)
        if not session.exited:
            self.watch(session.fds["process"], lambda mask: self._exited(session, mask))

    def remove(self, session: KeptSession) -> None:
        """Forget a session and its notes. A child that still runs is reaped when it exits."""
        del self.sessions[session.sid]
        self._second_look.pop(session.sid, None)
        self._reopening.pop(session.sid, None)
        for place in [place for place in self.notes if place[0] == session.sid]:
            del self.notes[place]
        for fd in (*session.flow.outputs, session.fds["process"]):
            self.unwatch(fd)
        if not session.exited:
            self.reap_later(os.dup(session.fds["process"]))
        session.close()

    def resume(self, session: KeptSession) -> None:
        """Pump (again): the session is new, its floor has moved, or its policy has changed."""
        session.flow.pauses = session.overflow == "pause" and self._drain_at != 0.0
        if session.lent_to is not None:
            return
        for stream, fd in enumerate(session.flow.outputs):
            if session.flow.open[stream] and fd not in self._callbacks:
                self.watch(fd, self._pumper(session, stream))

    def lend(self, session: KeptSession, peer: Peer) -> None:
        """Leave the output to this daemon as long as it is connected. Raises KeeperError while that cannot be yet."""
        if not self.settle():
            raise KeeperError("busy", "another daemon has not finished its last step")
        for fd in session.flow.outputs:
            self.unwatch(fd)
        self._second_look.pop(session.sid, None)
        self._reopening.pop(session.sid, None)
        session.ring.stalled = False
        session.lent_to = peer

    def take_back(self, session: KeptSession) -> None:
        """Pump a session's output ourselves again."""
        session.lent_to = None
        self.resume(session)

    def allow_daemon(self) -> None:
        """Let the active daemon step if it is connected, and nobody else."""
        self.pump.allow(self.epoch if any(peer.epoch == self.epoch for peer in self.peers.values()) else 0)

    def settle(self) -> bool:
        """Finish the step in which a daemon was killed, if there is one; False while it is still in one.

        The kernel closes a dying daemon's connection before it is quite dead; then we look again in a moment.
        """
        found: list[KeptSession] = []

        def find(number: int) -> Flow | None:
            if session := self.sessions.get(number):
                found.append(session)
            return session.flow if session else None

        settled = self.pump.recover(find)
        self._settle_at = None if settled else time.monotonic() + _BUSY_SECONDS
        for session in found:
            session.wake()
        return settled

    def _pumper(self, session: KeptSession, stream: int) -> Callable[[int], None]:
        def pump(_mask: int) -> None:
            self._pump(session, stream)

        return pump

    def _pump(self, session: KeptSession, stream: int) -> Progress:
        flow = session.flow
        try:
            progress = self.pump.step(flow, stream)
        except OSError as error:
            log(f"session {session.sid}: output {stream} is unreadable: {error}")
            progress = end_output(flow, stream)
        if progress.state in (State.FULL, State.BUSY):
            for fd in flow.outputs:
                self.unwatch(fd)
            delay = _SECOND_LOOK_SECONDS if progress.state is State.FULL else _BUSY_SECONDS
            self._second_look[session.sid] = time.monotonic() + delay
            if progress.state is State.BUSY:
                self.settle()
        elif progress.state is State.HUNG_UP:
            # Watched, it would be reported again and again; so look now and then, ever more rarely.
            self.unwatch(flow.outputs[stream])
            delay = min(2 * self._reopening.get(session.sid, (0.0, _REOPEN_SECONDS / 2))[1], _REOPEN_MOST_SECONDS)
            self._reopening[session.sid] = time.monotonic() + delay, delay
        elif progress.state is State.ENDED:
            self.unwatch(flow.outputs[stream])
        if progress.size and progress.state is not State.HUNG_UP:
            self._reopening.pop(session.sid, None)
        if progress.size or progress.state is State.ENDED:
            session.wake()
        return progress

    def _exited(self, session: KeptSession, mask: int) -> None:
        pidfd = session.fds["process"]
        if not session.look_for_exit(hung_up=bool(mask & select.EPOLLHUP)):
            # Somebody else's zombie. Only its end counts now, which is reported whatever the mask says.
            self._epoll.modify(pidfd, 0)
            return
        self.unwatch(pidfd)
        session.flow.reopens = False
        self._reopening.pop(session.sid, None)
        self.resume(session)  # what hung up is looked at a last time
        for stream, fd in enumerate(session.flow.outputs):
            steps = 0
            while fd in self._callbacks and steps < _DRAIN_STEPS and self._pump(session, stream).state is State.MORE:
                steps += 1
        session.wake()
        self.tell({"event": "exit", "sid": session.sid, "status": session.status, "end": session.ring.end})

    def reap_later(self, pidfd: int) -> None:
        """Take over the pidfd of a child that is nobody's session any more, until it has exited."""
        self.unreaped.add(pidfd)

        def reap(_mask: int) -> None:
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
            self.unwatch(pidfd)
            self.unreaped.discard(pidfd)
            os.close(pidfd)

        self.watch(pidfd, reap)

    # -- time -----------------------------------------------------------------------------------------------

    def daemon_came(self) -> None:
        """An active daemon is there: floors count again."""
        self._drain_at = None
        self.allow_daemon()
        self._resume_all()

    def daemon_left(self) -> None:
        """No daemon moves floors now; after a while nobody waits for them."""
        if not any(peer.epoch for peer in self.peers.values()):
            self._drain_at = time.monotonic() + GRACE_SECONDS

    def _resume_all(self) -> None:
        for session in self.sessions.values():
            self.resume(session)

    def _timeout(self) -> float:
        moments = [*self._second_look.values(), *(moment for moment, _ in self._reopening.values())]
        moments += [moment for moment in (self._drain_at, self._settle_at) if moment]
        return max(0.0, min(moments) - time.monotonic()) if moments else -1

    def _look_at_clock(self) -> None:
        if not (self._second_look or self._reopening or self._drain_at or self._settle_at):
            return
        now = time.monotonic()
        for sid in [sid for sid, (moment, _) in self._reopening.items() if moment <= now]:
            # Kept with its delay, which grows if there is still nobody: the next step tells.
            self._reopening[sid] = now + _REOPEN_MOST_SECONDS, self._reopening[sid][1]
            self.resume(self.sessions[sid])
        for sid in [sid for sid, moment in self._second_look.items() if moment <= now]:
            del self._second_look[sid]
            session = self.sessions[sid]
            if not session.flow.pauses or session.ring.floor + session.ring.capacity > session.ring.end:
                self.resume(session)
            else:
                # Two daemons may have been at it, one of them leaving, and the word that there is room been lost.
                session.ring.stalled = True
                self._second_look[sid] = now + _FURTHER_LOOKS_SECONDS
        if self._drain_at and self._drain_at <= now:
            self._drain_at = 0.0
            self._resume_all()
        if self._settle_at and self._settle_at <= now:
            self.settle()

    # -- daemons --------------------------------------------------------------------------------------------

    def rebind(self) -> None:
        """Listen at our paths again: somebody has removed them. Raises OSError, RefusedError; then nothing changed."""
        control_path, listen_path = str(self.control.getsockname()), str(self.listener.getsockname())
        directory = os.path.dirname(control_path)
        prepare_directory(directory)
        lock_fd = os.dup(self.lock_fd) if holds_lock(self.lock_fd, directory) else take_lock(directory)
        try:
            control = listen(control_path, socket.SOCK_SEQPACKET)
            try:
                listener = listen(listen_path, socket.SOCK_STREAM)
            except BaseException:
                control.close()
                raise
            os.dup2(lock_fd, self.lock_fd, inheritable=False)
        finally:
            os.close(lock_fd)
        self.unwatch(self.control.fileno())
        self.control.close()
        self.listener.close()
        self.control, self.listener = control, listener
        control.setblocking(False)
        self.watch(control.fileno(), self._accept)

    def _accept(self, _mask: int) -> None:
        try:
            sock, _ = self.control.accept()
        except OSError as error:
            log(f"accept: {error}")
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._turn_away()
            return
        channel = Channel(sock)
        if channel.peer_uid() != os.getuid():
            channel.close()
            return
        self.add_peer(Peer(channel))

    def _turn_away(self) -> None:
        """Without a free descriptor, end the next connection with the spare one; else it would be reported for ever."""
        os.close(self._spare)
        with contextlib.suppress(OSError):
            self.control.accept()[0].close()
        self._spare = os.dup(self.lock_fd)

    def add_peer(self, peer: Peer) -> None:
        """Begin to serve a connection."""
        peer.channel.socket.setblocking(False)
        self.peers[peer.channel.fileno()] = peer
        self.watch(peer.channel.fileno(), lambda mask: self._peer_ready(peer, mask))
        if peer.pending:
            self._epoll.modify(peer.channel.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def drop(self, peer: Peer) -> None:
        """End a connection. Its sessions live on; that is the keeper's purpose."""
        if self.peers.pop(peer.channel.fileno(), None) is None:
            return
        self.unwatch(peer.channel.fileno())
        for _, fds in peer.pending:
            close_all(fds)
        peer.pending.clear()
        peer.channel.close()
        if peer.epoch:
            self.daemon_left()
            self.allow_daemon()
            self.settle()
            for session in self.sessions.values():
                if session.lent_to is peer:
                    self.take_back(session)

    def tell(self, event: Mapping[str, object]) -> None:
        """Send an event to everybody."""
        for peer in list(self.peers.values()):
            self.send(peer, event)

    def send(self, peer: Peer, body: Mapping[str, object], fds: Sequence[int] = ()) -> None:
        """Send a message, later if the peer does not read at the moment; the caller keeps `fds`."""
        if peer.gone or peer.channel.fileno() not in self.peers:
            return
        text, large = encode(body)
        try:
            self._send_packet(peer, text, [*fds, *large])
        finally:
            close_all(large)

    def _send_packet(self, peer: Peer, text: bytes, fds: list[int]) -> None:
        try:
            if not peer.pending:
                peer.channel.send_packet(text, fds)
                return
        except BlockingIOError:
            self._epoll.modify(peer.channel.fileno(), select.EPOLLIN | select.EPOLLOUT)
        except ConnectionError:
            peer.gone = True
            return
        except OSError:
            self.drop(peer)
            return
        if len(peer.pending) >= _MAX_PENDING:
            self.drop(peer)
            return
        peer.pending.append((text, [os.dup(fd) for fd in fds]))

    def _peer_ready(self, peer: Peer, mask: int) -> None:
        if mask & select.EPOLLOUT:
            self._flush(peer)
        if mask & ~select.EPOLLOUT and peer.channel.fileno() in self.peers:
            self._hear(peer)

    def _hear(self, peer: Peer) -> bool:
        """Take one message; return whether there was one and the connection lives."""
        try:
            self.dispatch(peer)
        except BlockingIOError:
            return False
        except (OSError, KeeperError) as error:
            # That a peer has gone without reading its answers is said once, before what it has sent: unix(7).
            if isinstance(error, ConnectionError) and not peer.gone:
                peer.gone = True
                return True
            log(f"a daemon's connection is broken: {error}")
            self.drop(peer)
        return peer.channel.fileno() in self.peers

    def hear_out(self, peer: Peer) -> None:
        """Take what a connection has sent so far: a daemon that was killed took its notes for safe."""
        for _ in range(_MAX_HEARD):
            if not self._hear(peer):
                return

    def _flush(self, peer: Peer) -> None:
        try:
            while peer.pending:
                text, fds = peer.pending[0]
                peer.channel.send_packet(text, fds)
                close_all(fds)
                peer.pending.popleft()
        except BlockingIOError:
            return
        except ConnectionError:
            peer.gone = True
            for _, fds in peer.pending:
                close_all(fds)
            peer.pending.clear()
        except OSError:
            self.drop(peer)
            return
        self._epoll.modify(peer.channel.fileno(), select.EPOLLIN)


def log(text: str) -> None:
    """Write a line to stderr, if there still is one."""
    with contextlib.suppress(OSError, ValueError):
        print(f"ptybridge keeper: {text}", file=sys.stderr, flush=True)
