"""The daemon's connection to its keeper: requests and answers, exits as news, and what to do when the keeper is gone.

How it works: one task reads the connection; requests wait for the answer with their number, posts wait for nothing.
When the connection ends without another daemon having taken over, the keeper is dead. Its children live on, because
we hold their descriptors too: the step it was killed in is finished from the journal, each child's outputs are pumped
by ourselves from then on, a new keeper is started, and the children are handed to it one by one.
"""

import logging
import os
import select
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from ptybridge import __version__
from ptybridge.backends.keeper_answers import Answers, Asked
from ptybridge.backends.keeper_start import (
    CONTROL_NAME,
    KEEPER_COMMAND,
    POLL_SECONDS,
    START_SECONDS,
    KeeperGoneError,
    KeeperStarter,
    ask,
    claim,
)
from ptybridge.errors import Unavailable
from ptybridge.keeper import runtime
from ptybridge.keeper.protocol import PROTOCOL, Channel, KeeperError, Message, SessionInfo, connect, encode
from ptybridge.keeper.pump import Flow, Pump

log = logging.getLogger(__name__)

# A keeper that does not read for so long is stopped or hung; then its children are, too.
POST_MILLISECONDS = 2000
# A keeper that dies again and again must not keep us busy.
RETRY_SECONDS = 1.0

T = TypeVar("T")


class Notes(Protocol):
    """What the link knows of a child's notebook."""

    def gather(self) -> dict[str, object]: ...


class Kept(Protocol):
    """What the link knows of a child: see `backends.kept`."""

    flow: Flow

    @property
    def notebook(self) -> "Notes": ...

    def exited(self, status: int | None) -> None: ...
    def found(self, info: SessionInfo) -> None: ...
    def orphan(self, pump: Pump) -> None: ...
    async def release(self) -> tuple[SessionInfo, dict[str, int]]: ...
    def renew(self) -> None: ...
    def reattach(self, info: SessionInfo, fds: dict[str, int]) -> None: ...


class KeeperLink:
    """One daemon's link. `connect` first, then `run`; `children` belong to `backends.kept`."""

    def __init__(self, directory: Path, listen: Path, log_file: Path, *, may_start: bool = True) -> None:
        """Without `may_start` a keeper is only waited for: whoever holds its socket starts it."""
        self.children: dict[int, Kept] = {}
        self.superseded = trio.Event()
        self.keeper_pid = 0
        self.keeper_version = ""
        self.exact = False
        # Its sockets came from the service manager, to whom they belong.
        self.activated = False
        self.pump: Pump | None = None
        self._lends = False
        # Called with the clients' listener of a new keeper, which has bound the path anew.
        self.on_listener: Callable[[socket.socket], None] = lambda listener: listener.close()
        self._directory = directory
        self._log_file = log_file
        self._starter = KeeperStarter(directory, listen, log_file, may_start=may_start)
        self._channel: Channel | None = None
        self._epoch = 0
        self._stopping = False
        self._orphans: set[int] = set()
        self._orphan_pumps: list[Pump] = []
        self._answers = Answers()
        self._sending = trio.Lock()

    # -- connecting -----------------------------------------------------------------------------------------

    async def connect(self) -> tuple[socket.socket, list[SessionInfo]]:
        """Become the keeper's daemon, starting a keeper if there is none.

        Returns the clients' listener and the sessions it keeps. Raises `Unavailable`.
        """
        channel, message = await self._claim_keeper()
        body = message.body
        listener_fd, *scratch = message.fds
        if self.pump is not None:
            self.pump.close()
        self.pump = Pump(*scratch)
        self.keeper_pid, self.exact = int(body["pid"]), bool(body["exact"])
        self.keeper_version = str(body["keeper_version"])
        self._epoch = self.pump.epoch = int(body["epoch"])
        self._lends = bool(body.get("lends", False))
        self.activated = bool(body.get("activated", False))
        channel.socket.setblocking(False)
        self._channel = channel
        return socket.socket(fileno=listener_fd), [SessionInfo.from_body(one) for one in body["sessions"]]

    async def _claim_keeper(self) -> tuple[Channel, Message]:
        deadline = trio.current_time() + START_SECONDS
        while True:
            channel = await self._starter.find()
            # Blocking for one round trip: nothing else runs yet, or nothing else can go on without it.
            channel.socket.settimeout(START_SECONDS)
            try:
                return channel, claim(channel, max(self.children, default=0))
            except (KeeperGoneError, ConnectionError) as exc:
                # It died before it could answer, so there is room for the next one.
                channel.close()
                if trio.current_time() >= deadline:
                    raise Unavailable(f"the keeper ends its connections; see {self._log_file}") from exc
                log.warning("the keeper has gone away before it answered: %s", exc)
            except TimeoutError as exc:
                channel.close()
                raise Unavailable(
                    f"the running keeper has not answered for {START_SECONDS:.0f} s",
                    hint="it may be stopped; `ptybridge doctor` shows its pid, and its sessions end with it",
                ) from exc
            except (KeeperError, OSError) as exc:
                channel.close()
                raise Unavailable(
                    f"the running keeper cannot work with this version ({__version__}): {exc}",
                    hint="its sessions end with it: `kill` the keeper that `ptybridge doctor` shows, or use the "
                    "version of ptybridge that it is of",
                ) from exc
            await trio.sleep(POLL_SECONDS)

    @property
    def lent_pump(self) -> Pump | None:
        """The keeper's pump, if we may use it: for outputs the keeper leaves to us."""
        return self.pump if self._lends and self.pump is not None and self.pump.exact else None

    # -- requests -------------------------------------------------------------------------------------------

    async def request(
        self, op: str, parameters: Mapping[str, object] | None = None, fds: Sequence[int] = ()
    ) -> Message:
        """Ask and wait for the answer, whose descriptors are then the caller's. Raises as `obtain`."""
        return await self.obtain(op, parameters or {}, lambda message: message, fds)

    async def obtain(
        self, op: str, parameters: Mapping[str, object], make: Callable[[Message], T], fds: Sequence[int] = ()
    ) -> T:
        """Ask, and return what `make` makes of the answer in the step it is received in.

        Raises OSError for the system's refusals, `KeeperError` for the keeper's, `Unavailable` when it is lost. When
        it is cancelled an answer on its way is dropped: shield it where that matters.
        """
        asked = self._answers.expect(make)
        try:
            await self._send({"op": op, "id": asked.number, **parameters}, fds)
            await asked.answered.wait()
        except BaseException:
            asked.forsake()
            raise
        finally:
            self._answers.done(asked)
        return asked.result()

    async def ask_all(
        self, requests: Sequence[tuple[str, Mapping[str, object], Callable[[Message], object]]]
    ) -> list[Asked[object]]:
        """Ask many things at once, in this order, and wait until each is answered or the keeper is lost."""
        pending = [(self._answers.expect(make), op, parameters) for op, parameters, make in requests]
        try:
            for asked, op, parameters in pending:
                await self._send({"op": op, "id": asked.number, **parameters})
        except Unavailable:
            self._answers.lost()
        for asked, _, _ in pending:
            await asked.answered.wait()
        return [asked for asked, _, _ in pending]

    def post(self, op: str, **parameters: object) -> bool:
        """Tell something and wait for nothing. Lost if the keeper is; it is told anew where that matters.

        Returns whether it is on its way.

        When it returns the message is in the socket's buffer and so outlives us; the keeper always reads, so waiting
        for room is short. Packets are whole, so a post may overtake a request that waits for room.
        """
        text, large = encode({"op": op, **parameters})
        try:
            return self._post_packet(text, large)
        finally:
            for fd in large:
                os.close(fd)

    def _post_packet(self, text: bytes, fds: Sequence[int]) -> bool:
        while self._channel is not None:
            try:
                self._channel.send_packet(text, fds)
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._channel.fileno(), select.POLLOUT)
                if not poll.poll(POST_MILLISECONDS):
                    log.error("the keeper does not read; a message to it is lost")
                    return False
            except OSError:
                return False  # the reader of this connection finds out, too
            else:
                return True
        return False

    async def _send(self, body: Mapping[str, object], fds: Sequence[int] = ()) -> None:
        async with self._sending:
            text, large = encode(body)
            try:
                await self._send_packet(text, [*fds, *large])
            finally:
                for fd in large:
                    os.close(fd)

    async def _send_packet(self, text: bytes, fds: Sequence[int]) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._channel is not None:
            try:
                self._channel.send_packet(text, fds)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._channel.socket)
                continue
            except OSError as exc:
                raise Unavailable("the keeper is gone; a new one is being started") from exc
            return
        raise Unavailable("the keeper is gone; a new one is being started")

    # -- life -----------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the link until cancelled or superseded; survive the keeper."""
        task_status.started()
        while not self._over:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive_all, nursery.cancel_scope)
                # A new keeper may die, too; then this is cancelled and begins anew with the next one.
                await self._hand_over_orphans()
            self._lose_channel()
            if not self._over:
                await self._replace_keeper()

    async def _receive_all(self, scope: trio.CancelScope) -> None:
        await self._receive_messages()
        scope.cancel()

    async def _receive_messages(self) -> None:
        channel = self._channel
        while channel is not None:
            try:
                message = channel.receive()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(channel.socket)
                continue
            except (OSError, KeeperError) as exc:
                if not self._over:
                    log.warning("the connection to the keeper is broken: %s", exc)
                return
            if message is None:
                return
            self._take(message)

    def _take(self, message: Message) -> None:
        body = message.body
        if self._answers.take(message):
            return
        message.close()
        if body.get("event") == "exit":
            child = self.children.get(body["sid"])
            if child is not None:
                child.exited(body["status"])
        elif body.get("event") == "superseded":
            log.info("another daemon has taken over")
            self.superseded.set()
        elif "error" in body:
            log.warning("the keeper refused something: %s", body["error"])

    def _lose_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._answers.lost()

    # -- the keeper is dead ---------------------------------------------------------------------------------

    async def _replace_keeper(self) -> None:
        """Finish its last step, pump in its place, and start a new one."""
        # Only one process may pump; a lock that the kernel releases with the keeper tells that it is really gone.
        while self._keeper_lives():
            pid = self._look_again()
            if self._over or self._channel is not None:
                return
            if pid not in {0, self.keeper_pid}:
                break  # it has been replaced already, by a service manager perhaps
            await trio.sleep(POLL_SECONDS)
        log.error("the keeper (pid %d) is dead; its children live on and get a new one", self.keeper_pid)
        pump, self.pump = self.pump, None
        assert pump is not None
        # A daemon before us may be in its last step.
        while not pump.recover(self._find_flow):  # noqa: ASYNC110
            await trio.sleep(POLL_SECONDS)
        self._orphan_pumps.append(pump)
        for sid, child in self.children.items():
            if sid not in self._orphans:
                self._orphans.add(sid)
                child.orphan(pump)
        await self._connect_anew()

    async def _hand_over_orphans(self) -> None:
        if not self._orphan_pumps:
            return
        for sid in sorted(self._orphans):
            child = self.children.get(sid)
            if child is not None:
                await self._hand_over(sid, child)
            self._orphans.discard(sid)
        for pump in self._orphan_pumps:
            pump.close()
        self._orphan_pumps.clear()
        log.info("the new keeper (pid %d) has all %d sessions", self.keeper_pid, len(self.children))

    def _keeper_lives(self) -> bool:
        try:
            return runtime.is_locked(str(self._directory))
        except OSError as exc:
            log.warning("cannot tell whether the keeper lives: %s", exc)
            return True

    def _look_again(self) -> int:
        """Return the pid of the keeper that answers, 0 for none. Connects if it is ours: then the connection was lost.

        Notices, too, that we are superseded.
        """
        try:
            channel = connect(str(self._directory / CONTROL_NAME))
        except (OSError, KeeperError):
            return 0
        try:
            channel.socket.settimeout(START_SECONDS)
            message = ask(channel, {"op": "hello", "id": 0, "proto": list(PROTOCOL), "epoch": self._epoch})
        except (OSError, KeeperError) as exc:
            channel.close()
            if isinstance(exc, KeeperError) and exc.kind == "stale":
                log.info("another daemon has taken over")
                self.superseded.set()
            return 0
        message.close()
        if message.body["pid"] != self.keeper_pid:
            channel.close()
            return int(message.body["pid"])
        log.warning("the connection to the keeper (pid %d) was lost and is there again", self.keeper_pid)
        channel.socket.setblocking(False)
        self._channel = channel
        for info in (SessionInfo.from_body(one) for one in message.body["sessions"]):
            child = self.children.get(info.sid)
            if child is not None:
                child.found(info)
        return self.keeper_pid

    async def _connect_anew(self) -> None:
        while True:
            try:
                listener, _ = await self.connect()
            except (Unavailable, OSError) as exc:
                log.error("cannot start a new keeper: %s", exc)
                await trio.sleep(RETRY_SECONDS)
                continue
            self.on_listener(listener)
            return

    async def _hand_over(self, sid: int, child: Kept) -> None:
        info, fds = await child.release()
        names = list(fds)
        try:
            body = {"info": info._asdict(), "names": names, "notes": child.notebook.gather()}
            (await self.request("adopt", body, list(fds.values()))).close()
            await self.attach(sid, child)
        except Unavailable:
            log.warning("the new keeper is lost, too, before it has session %d", sid)
        except (KeeperError, OSError) as exc:
            log.error("session %d could not be handed to the new keeper: %s", sid, exc)

    async def attach(self, sid: int, child: Kept) -> None:
        """Let a child that is in the keeper's hands again follow its ring."""
        answer = await self.request("attach", {"sid": sid})
        child.reattach(
            SessionInfo.from_body(answer.body["info"]), dict(zip(answer.body["names"], answer.fds, strict=True))
        )

    def _find_flow(self, number: int) -> Flow | None:
        child = self.children.get(number)
        return child.flow if child is not None else None

    async def upgrade(self) -> None:
        """Let the keeper turn into the program of our own version; its children do not notice.

        Raises `Unavailable` when it stays what it was.
        """
        try:
            answer = await self.request("upgrade", {"argv": KEEPER_COMMAND})
        except (KeeperError, OSError) as exc:
            raise Unavailable(f"the keeper stays as it is: {exc}", hint=f"see {self._log_file}") from exc
        self.keeper_version = str(answer.body.get("keeper_version", self.keeper_version))
        answer.close()
        for child in self.children.values():
            child.renew()

    async def rebind(self) -> None:
        """Let the keeper bind its paths anew, which were removed. Raises OSError, `KeeperError`, `Unavailable`."""
        answer = await self.request("rebind")
        self.on_listener(socket.socket(fileno=answer.fds.pop()))

    def stop_keeper(self) -> None:
        """End the keeper, which must have no session left. Its pid cannot have been recycled: we are connected."""
        self._stopping = True
        if self._channel is not None and self.keeper_pid:
            os.kill(self.keeper_pid, signal.SIGTERM)
            if not self.activated:
                (self._directory / CONTROL_NAME).unlink(missing_ok=True)

    @property
    def _over(self) -> bool:
        return self._stopping or self.superseded.is_set()

    def close(self) -> None:
        """End the link; the keeper goes on without us."""
        self._lose_channel()
