"""Children owned by the keeper: the daemon moves their output and input and watches for their exit.

How it works: output goes into a ring that both processes map; who moves it there is `kept_output`'s business. Input
goes straight to the terminal, whose descriptor the daemon has a copy of. Cancelling detaches and touches nothing.
"""

import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import trio

from ptybridge.backends import terminal
from ptybridge.backends.base import ProcessBacked
from ptybridge.backends.keeper_link import KeeperLink
from ptybridge.backends.kept_output import KeptOutput
from ptybridge.backends.pace import Pace
from ptybridge.backends.pipes import BYTES_PER_RUN
from ptybridge.backends.process import ChildProcess
from ptybridge.backends.spawn import spawn_failed
from ptybridge.backends.stream import close_fd, write_nowait, write_some
from ptybridge.core.child import Child, ChildSpec, LineMode
from ptybridge.core.lineedit import LineKeys
from ptybridge.core.signals import signal_name, signal_number
from ptybridge.core.transcript import Transcript
from ptybridge.errors import InputClosed, SpawnFailed, Unavailable
from ptybridge.keeper.protocol import CutOffError, KeeperError, Message, SessionInfo
from ptybridge.keeper.pump import Flow, Pump
from ptybridge.keeper.ring import Ring, Segments
from ptybridge.model import Backend, ExitStatus, WindowSize

log = logging.getLogger(__name__)

# A keeper answers within milliseconds, or is lost; unless it is stopped.
SPAWN_SECONDS = 10.0
Notes = dict[int, dict[str, Any]]
_OUTPUTS = {"pty": ("pty",), "pipes": ("stdout", "stderr")}


class KeptProcess(ChildProcess):
    """A process whose parent is the keeper: its status comes from there."""

    def __init__(self, pid: int, pidfd: int) -> None:
        super().__init__(pid, pidfd)
        self._exited = trio.Event()

    def note_exit(self, status: int | None) -> None:
        """Note the exit code, or minus the signal's number, or None for unknown. The first word counts."""
        if self.status is not None:
            return
        if status is None:
            self.status = ExitStatus()
        else:
            self.status = ExitStatus(code=status) if status >= 0 else ExitStatus(signal=signal_name(-status))
        self._exited.set()

    async def wait(self) -> ExitStatus:
        """Wait until the keeper has told the status."""
        await self._exited.wait()
        return self.status or ExitStatus()

    def reap_nowait(self) -> ExitStatus | None:
        """Return the status if it is known; reaping is the keeper's."""
        return self.status


class KeptNotebook:
    """One session's notes at the keeper; implements `core.memory.Notebook`."""

    def __init__(self, link: KeeperLink, sid: int) -> None:
        self.on_lost: Callable[[], None] = lambda: None
        self.keeps_screens = True
        self._link = link
        self._sid = sid
        self._gathered: dict[str, object] | None = None

    def remember(self, notes: dict[str, object]) -> None:
        """Until somebody else says what to write to a new keeper, write these: what the one before had."""

        def write_again() -> None:
            for key, value in notes.items():
                self.write(key, value)

        self.on_lost = write_again

    def write(self, key: str, value: object) -> None:
        """Hand a note to the keeper; in its socket buffer it is safe from our end."""
        data = msgspec.to_builtins(value)
        if self._gathered is not None:
            self._gathered[key] = data
        else:
            self._link.post("note", sid=self._sid, key=key, data=data)

    async def settle(self) -> None:
        """Do nothing: a note is safe once written."""
        await trio.lowlevel.checkpoint()

    def gather(self) -> dict[str, object]:
        """Return all notes of the session, for a keeper that has none of them."""
        gathered: dict[str, object] = {}
        self._gathered = gathered
        try:
            self.on_lost()
        finally:
            self._gathered = None
        return gathered


class KeptChild(ProcessBacked):
    """Implements `core.child.Child` and the link's `Kept`. Owns its copies of the descriptors."""

    def __init__(self, link: KeeperLink, info: SessionInfo, fds: dict[str, int], pace: Pace) -> None:
        self._process: KeptProcess
        super().__init__(KeptProcess(info.pid, fds["process"]))
        self.backend: Backend = "pty" if info.kind == "pty" else "pipes"
        self.sid = info.sid
        self.ring = Ring.from_fd(fds["ring"])
        self.segments = Segments.from_fd(fds["segments"]) if "segments" in fds else None
        self.flow = Flow(self.sid, [fds[name] for name in _OUTPUTS[info.kind]], self.ring, self.segments, pauses=True)
        self.notebook = KeptNotebook(link, info.sid)
        self._link = link
        self._fds = fds
        self.flow.reopens = info.kind == "pty" and not info.exited
        self._output = KeptOutput(link, self.flow, self._process, fds["wake"], pace)
        if info.exited:
            self._process.note_exit(info.status)
        link.children[self.sid] = self

    @property
    def _pty_fd(self) -> int:
        return self._fds.get("pty", -1)

    # -- output ---------------------------------------------------------------------------------------------

    async def pump(self, log: Transcript) -> None:
        """Bring the output into `log` until its end."""
        await self._output.run(log)

    # -- the link's side ------------------------------------------------------------------------------------

    def exited(self, status: int | None) -> None:
        """The keeper reports the exit."""
        self.flow.reopens = False
        self._process.note_exit(status)

    def orphan(self, pump: Pump) -> None:
        """There is no keeper: pump with its scratch pipe and journal."""
        self._output.orphan_pump = pump
        self.flow.open = [not self.ring.eof] * len(self.flow.outputs)
        self._output.change()

    def renew(self) -> None:
        """The keeper has another program, which knows nothing of what we do for it."""
        self._output.change()

    async def release(self) -> tuple[SessionInfo, dict[str, int]]:
        """Stop pumping and describe the session for a new keeper; our copies of the descriptors stay ours."""
        self._output.orphan_pump = None
        self._output.change()
        await self._output.settle()
        status = self._process.status
        number = None
        if status is not None:
            number = status.code if status.signal is None else -signal_number(status.signal)
        info = SessionInfo(
            self.sid,
            self.backend,
            self.pid,
            "pause",
            status is not None,
            number,
            self.ring.start,
            self.ring.end,
            self.ring.eof,
        )
        return info, dict(self._fds)

    def found(self, info: SessionInfo) -> None:
        """The keeper, which we had lost, has been found alive, with this news; it has pumped on."""
        if info.exited:
            self.exited(info.status)
        if self.ring.stalled:
            self.ring.stalled = False
            self._link.post("room", sid=self.sid)
        self._output.change()
        self.notebook.on_lost()

    def reattach(self, info: SessionInfo, fds: dict[str, int]) -> None:
        """Follow again, with the new wake-up; the other descriptors are the same files and are closed."""
        old, self._fds["wake"] = self._fds["wake"], fds.pop("wake")
        for fd in fds.values():
            os.close(fd)
        self._output.wake = self._fds["wake"]
        self._output.change()
        close_fd(old)
        self.notebook.on_lost()
        if info.exited:
            self.exited(info.status)

    # -- input and control ----------------------------------------------------------------------------------

    async def send_some(self, data: memoryview) -> int:
        """Write what fits, waiting for room."""
        self._output.note_input()
        return await write_some(self._input_fd(), data)

    def send_nowait(self, data: bytes) -> int:
        """Write what fits right now."""
        self._output.note_input()
        return write_nowait(self._input_fd(), data)

    def _input_fd(self) -> int:
        fd = self._fds.get("pty", self._fds.get("stdin", -1))
        if fd < 0:
            raise InputClosed
        return fd

    async def close_input(self) -> None:
        """Type the terminal's end-of-file character, or close the pipe here and at the keeper."""
        if self._pty_fd >= 0:
            await write_some(self._pty_fd, terminal.eof_character(self._pty_fd))
            return
        stdin = self._fds.pop("stdin", -1)
        if stdin >= 0:
            close_fd(stdin)
            (await self._link.request("close_input", {"sid": self.sid})).close()

    def resize(self, size: WindowSize) -> None:
        """Set the terminal's size."""
        terminal.set_size(self._pty_fd, size)

    def line_mode(self) -> LineMode | None:
        """Return the line discipline's state, None without a terminal."""
        return terminal.line_mode(self._pty_fd)

    def line_keys(self) -> LineKeys | None:
        """Return what has an effect in line mode, None outside of it."""
        return terminal.line_keys(self._pty_fd)

    def foreground_pgid(self) -> int | None:
        """Return the terminal's foreground process group."""
        return terminal.foreground_pgid(self._pty_fd) if self._pty_fd >= 0 else None

    async def aclose(self) -> None:
        """Release our copies; the keeper's keep the terminal alive. Idempotent."""
        self._link.children.pop(self.sid, None)
        process = self._fds.pop("process", -1)
        self._output.wake = -1
        fds, self._fds = self._fds, {}
        for fd in fds.values():
            close_fd(fd)
        if process >= 0:
            self._process.close()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def discard(self) -> None:
        """Let the keeper drop the session."""
        self._link.post("forget", sid=self.sid, force=True)


class KeptBackend:
    """Spawns through the keeper."""

    def __init__(self, link: KeeperLink) -> None:
        self._link = link
        self._pace = Pace()

    def spawners(self) -> dict[str, Callable[[ChildSpec], Awaitable[tuple[Child, Transcript]]]]:
        """Return backend names with what spawns a child and its transcript."""

        async def spawn_pty(spec: ChildSpec) -> tuple[Child, Transcript]:
            return await self.spawn("pty", spec)

        async def spawn_pipes(spec: ChildSpec) -> tuple[Child, Transcript]:
            return await self.spawn("pipes", spec)

        return {"pty": spawn_pty, "pipes": spawn_pipes}

    async def spawn(self, kind: Backend, spec: ChildSpec) -> tuple[Child, Transcript]:
        """Start a program in the keeper. Raises `SpawnFailed` with the system's reason, or `Unavailable`."""
        parameters: dict[str, object] = {"kind": kind, "argv": spec.argv, "cwd": spec.cwd, "env": spec.env}
        # The keeper heeds our floor, which is where the screen stands: so no output passes the screen unseen.
        parameters |= {"capacity": spec.capacity, "overflow": "pause"}
        if kind == "pty":
            parameters |= {"rows": spec.size.rows, "cols": spec.size.cols, "echo": spec.echo}
        else:
            parameters["records"] = max(1, spec.capacity // BYTES_PER_RUN)
        try:
            # Not cancellable: a program that nobody knows of would be left behind.
            with trio.move_on_after(SPAWN_SECONDS, shield=True):
                return await self._link.obtain("spawn", parameters, self._spawned)
        except CutOffError as exc:
            # It runs, but we have no room for its terminal.
            self._link.post("forget", sid=exc.body["info"]["sid"], force=True)
            raise spawn_failed(spec, exc) from exc
        except KeeperError as exc:
            raise SpawnFailed(f"cannot run {spec.argv[0]}: {exc.text}") from exc
        except OSError as exc:
            raise spawn_failed(spec, exc) from exc
        raise Unavailable(f"the keeper has not answered for {SPAWN_SECONDS:.0f} s")

    async def hold(self, kept: Sequence[SessionInfo]) -> tuple[Notes, dict[int, tuple[KeptChild, Transcript]]]:
        """Get all notes of the keeper, and hold what it keeps, before anything else is done.

        Until then the keeper alone has the descriptors, and children end with it. So all is asked for at once, notes
        first: who holds a session can also say what it is. From then on the keeper may die, too. A session that cannot
        be held is missing from what is returned. Raises `Unavailable` when its keeper cannot tell what it has.
        """
        notes: Notes = {}

        def take_notes(answer: Message) -> None:
            for sid, key, data in answer.body["notes"]:
                notes.setdefault(sid, {})[key] = data

        found: dict[int, tuple[KeptChild, Transcript]] = {}

        def hold(answer: Message) -> None:
            child, transcript = self._child(answer)
            child.notebook.remember(notes.get(child.sid, {}))
            found[child.sid] = child, transcript

        told, *others = await self._link.ask_all(
            [("notes", {}, take_notes), *(("attach", {"sid": info.sid}, hold) for info in kept)]
        )
        try:
            told.result()
        except (KeeperError, OSError) as exc:
            raise Unavailable(f"the keeper does not tell what it keeps: {exc}") from exc
        except Unavailable:
            log.error("the keeper has died before it could tell what it kept")
        for info, asked in zip(kept, others, strict=True):
            try:
                asked.result()
            except (Unavailable, KeeperError, OSError, ValueError) as exc:
                log.error("session %d of the keeper cannot be taken up: %s", info.sid, exc)
        return notes, found

    def _spawned(self, answer: Message) -> tuple[KeptChild, Transcript]:
        try:
            return self._child(answer)
        except OSError:
            # Mapping its memory takes descriptors, too.
            self._link.post("forget", sid=answer.body["info"]["sid"], force=True)
            raise

    def _child(self, answer: Message) -> tuple[KeptChild, Transcript]:
        fds = dict(zip(answer.body["names"], answer.fds, strict=True))
        child = KeptChild(self._link, SessionInfo.from_body(answer.body["info"]), fds, self._pace)
        return child, Transcript(child.ring, child.segments)
