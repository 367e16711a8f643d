"""Starting programs in panes: the tmux server, the window, and handing the launcher what to run.

How it works: `TmuxServer` is one private server with at most one connection, which exists while a session needs it.
A new window's process is the launcher, which connects to a socket made for it alone and is given the program there.
Only when the daemon has a handle on the process does it let the program begin.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import trio

from ptybridge.backends import nofile, tmux_launcher
from ptybridge.backends.spawn import spawn_failed
from ptybridge.backends.tmux import Place, TmuxChild
from ptybridge.backends.tmux_link import CONTROL_SESSION, Link, LinkLost, TmuxError
from ptybridge.backends.tmux_protocol import quote
from ptybridge.config import MAX_SOCKET_PATH_BYTES
from ptybridge.core import procinfo
from ptybridge.core.child import ChildSpec
from ptybridge.core.transcript import Transcript
from ptybridge.errors import SpawnFailed, Unavailable, UnsafePath
from ptybridge.keeper.ring import Ring
from ptybridge.keeper.spawn import Program, find_program

log = logging.getLogger(__name__)

_LAUNCH_SECONDS: Final = 20.0
_CLEAN_UP_SECONDS: Final = 10.0
# A server that ends just as we come takes this many tries at most.
_TRIES: Final = 5
_RETRY_SECONDS: Final = 0.05
_FORMAT: Final = "#{window_id} #{pane_id} #{pane_pid} #{pane_tty}"
# The longest name of a socket in the directory is a token's: 16 digits and ".sock".
MAX_DIRECTORY_BYTES: Final = MAX_SOCKET_PATH_BYTES - len("/0123456789abcdef.sock")
_ANOTHER: Final = "set PTYBRIDGE_TMUX_DIR to another one"
# tmux's own names must not contain a colon or a period; what people see is kept readable.
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]+")


def check_directory(path: Path) -> Path:
    """Refuse a directory that sockets cannot be in, whatever is there. Raises `UnsafePath`."""
    if not path.is_absolute():
        raise UnsafePath(f"the directory for tmux is not absolute: {str(path)!r}", hint=_ANOTHER)
    if len(os.fsencode(path)) > MAX_DIRECTORY_BYTES:
        raise UnsafePath(
            f"{path} is too long for sockets in it: {len(os.fsencode(path))} bytes, at most {MAX_DIRECTORY_BYTES}",
            hint=_ANOTHER,
        )
    return path


def prepare_directory(path: Path) -> Path:
    """Make a directory that is ours alone, for sockets. Raises `UnsafePath`."""
    check_directory(path)
    try:
        # The mode is for the last part only, and the one above it is the user's directory of sockets.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise UnsafePath(f"{path} is not a directory of yours", hint=_ANOTHER)
        if found.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as exc:
        raise UnsafePath(f"{path} cannot be used: {exc.strerror}", hint=_ANOTHER) from exc
    return path


def group_name(workspace: str, owner: str | None) -> str:
    """Return the tmux session's name for a workspace; those of different owners are different."""
    digest = hashlib.sha256(f"{owner or ''}\0{workspace}".encode()).hexdigest()[:8]
    return f"{_UNFIT.sub('-', workspace)[:40]}-{digest}"


class TmuxServer:
    """A private server at `socket`. `run` first; `spawn` starts it, and it ends with its last window."""

    def __init__(self, path: Path, child: type[TmuxChild] = TmuxChild) -> None:
        self.socket = path
        self._child = child
        self._link: Link | None = None
        self._opening = trio.Lock()
        self._making = trio.Lock()
        self._mending = trio.Lock()
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve connections until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    # -- the connection -------------------------------------------------------------------------------------

    async def connect(self, *, create: bool) -> Link:
        """Return the connection, made if need be. Raises `LinkLost` (nobody there), `Unavailable`."""
        async with self._opening:
            link = self._link
            if link is not None and not link.leaving and not link.ended.is_set():
                return link
            if link is not None:
                await link.forgotten()
                self._link = None
            if create:
                prepare_directory(self.socket.parent)
            try:
                return await self._start(create=False)
            except LinkLost:
                if not create:
                    raise
            return await self._start(create=True)

    async def _start(self, *, create: bool) -> Link:
        if not create and not self.socket.exists():
            raise LinkLost
        nursery = self._nursery
        if nursery is None:
            raise Unavailable("tmux sessions are not served yet")
        link = Link(self.socket)
        await link.open(create=create)
        ready = False
        try:
            await nursery.start(link.run)
            await link.attached()
            ready = True
        except TmuxError:
            raise LinkLost from None  # its session has ended meanwhile
        finally:
            if not ready:
                with trio.move_on_after(_CLEAN_UP_SECONDS, shield=True):
                    await link.close()
        link.on_broken = lambda: nursery.start_soon(self._mend, link)
        self._link = link
        return link

    async def _mend(self, broken: Link) -> None:
        """Connect again for those whose connection broke while the server lives; else their output has ended."""
        async with self._mending:
            log.warning("the connection to the tmux server %s broke", self.socket)
            for window in broken.unclosed:
                with contextlib.suppress(LinkLost, Unavailable):
                    (await self.connect(create=False)).close_window(window)
            for child in tuple(broken.panes.values()):
                if isinstance(child, TmuxChild):
                    await self._move(child)
            if self._link is not None:
                await self.let_go(self._link)

    async def _move(self, child: TmuxChild) -> None:
        moved = False
        while not moved:
            try:
                link = await self.connect(create=False)
                with contextlib.suppress(LinkLost):  # broken once more
                    await child.move(link, picture)
                    moved = True
            except (LinkLost, TmuxError, Unavailable) as exc:
                why = str(exc) or "the server has ended"
                log.error("the program %d in tmux is out of reach: %s", child.pid, why)
                child.output_ended()
                return

    # -- spawning -------------------------------------------------------------------------------------------

    async def spawn(self, spec: ChildSpec) -> tuple[TmuxChild, Transcript]:
        """Start a program in a window of its own, in a tmux session of its workspace if it has one.

        Raises `SpawnFailed` with the system's reason, or `Unavailable` when there is no tmux.
        """
        name = spec.name or spec.session_id
        group = None if spec.workspace is None else group_name(spec.workspace, spec.owner)
        program = Program(spec.argv, spec.cwd, spec.env, nofile.inherited())
        try:
            path = find_program(program)
        except OSError as exc:
            raise spawn_failed(spec, exc) from exc
        except ValueError as exc:
            raise SpawnFailed(f"cannot run {spec.argv[0]}: {exc}") from exc
        for turn in range(_TRIES):
            try:
                link = await self.connect(create=True)
                child = await self._spawn_on(link, spec, path, name, group)
            except LinkLost:
                # The server's last window was closing, and the server with it.
                await trio.sleep(_RETRY_SECONDS * (turn + 1))
                continue
            except TmuxError as exc:
                raise SpawnFailed(f"tmux cannot make a window: {exc}") from exc
            except OSError as exc:
                raise spawn_failed(spec, exc) from exc
            return child, Transcript(Ring.anonymous(spec.capacity))
        raise Unavailable("the tmux server ends again and again")

    async def _spawn_on(self, link: Link, spec: ChildSpec, path: str, name: str, group: str | None) -> TmuxChild:
        token = secrets.token_hex(8)
        status_file = self.socket.parent / f"{token}.exit"
        window = None
        child: TmuxChild | None = None
        begun = False
        link.users += 1
        try:
            with _listening(self.socket.parent / f"{token}.sock") as listener:
                launcher = [sys.executable, "-I", "-S", tmux_launcher.__file__]
                argv = [*launcher, str(self.socket.parent / f"{token}.sock"), str(status_file), token]
                window, pane, launcher_pid, tty = await self._make_window(link, argv, name, group)
                if group is not None:
                    await self._ask_in_session(link, f"link-window -d -s {window} -t ={CONTROL_SESSION}:")
                await link.ask(f"resize-window -t {window} -x {spec.size.cols} -y {spec.size.rows}")
                with trio.fail_after(_LAUNCH_SECONDS):
                    pid, stream = await _hand_over(listener, spec, path)
                with stream:
                    found = procinfo.process_stat(pid)
                    place = Place(
                        socket=str(self.socket),
                        window=window,
                        pane=pane,
                        tty=tty,
                        pid=pid,
                        start_time=0 if found is None else found.start_time,
                        launcher_pid=int(launcher_pid),
                        status_file=str(status_file),
                        mark=token,
                    )
                    child = self._child(link, place)
                    await _let_go(stream, spec)
                    begun = True
        except trio.TooSlowError as exc:
            raise Unavailable("the program's launcher in tmux does not answer") from exc
        finally:
            link.users -= 1
            if not begun:
                if child is not None:
                    child.discard()
                elif window is not None:
                    link.close_window(window)
                with trio.move_on_after(_CLEAN_UP_SECONDS, shield=True):
                    if child is not None:
                        await child.aclose()
                    elif not link.in_use:
                        await link.close()
        link.close_placeholder()
        assert child is not None
        return child

    async def _make_window(self, link: Link, argv: list[str], name: str, group: str | None) -> list[str]:
        """Return the four of `_FORMAT`. Not to be cancelled: nobody would know of the window."""
        title = _UNFIT.sub("-", name) or "session"
        command = " ".join(quote(word) for word in argv)
        where = f"-d -P -F {quote(_FORMAT).replace('##', '#')} -n {title} -c /"
        answer: list[str] = []
        with trio.CancelScope(shield=True):
            if group is None:
                answer = await self._ask_in_session(link, f"new-window {where} -t ={CONTROL_SESSION}: {command}")
            else:
                answer = await self._in_group(link, group, where, command)
        return answer[0].split(" ")

    async def _in_group(self, link: Link, group: str, where: str, command: str) -> list[str]:
        # Two first ones of a workspace must not both make its session.
        async with self._making:
            try:
                return await link.ask(f"new-window {where} -t ={group}: {command}")
            except TmuxError:
                return await link.ask(f"new-session {where} -s {group} {command}")

    async def _ask_in_session(self, link: Link, command: str) -> list[str]:
        """Raises `LinkLost` also when the session has ended, and the server with it."""
        try:
            return await link.ask(command)
        except TmuxError as exc:
            refusal = exc
        ended = False
        try:
            await link.ask(f"has-session -t ={CONTROL_SESSION}")
        except TmuxError:
            ended = True
        if not ended:
            raise refusal
        link.leaving = True
        raise LinkLost

    # -- coming back ----------------------------------------------------------------------------------------

    async def find(self, place: Place) -> Link:
        """Return the connection to a session's server when its pane is there as it was, with a living program.

        Raises `LookupError` with what is missing, or `Unavailable`.
        """
        try:
            link = await self.connect(create=False)
            shown = "#{pane_pid} #{pane_dead} #{window_id}"
            answer = await link.ask(f"display-message -p -t {place.pane} '{shown}'")
        except LinkLost:
            raise LookupError("its tmux server has ended") from None
        except TmuxError:
            raise LookupError("its tmux pane is gone") from None
        if answer != [f"{place.launcher_pid} 0 {place.window}"]:
            await self.let_go(link)
            raise LookupError("its tmux pane is gone")
        found = procinfo.process_stat(place.pid)
        if found is None or not found.alive or found.start_time != place.start_time:
            await self.let_go(link)
            raise LookupError("its program has ended")
        return link

    async def clear(self, place: Place) -> None:
        """Close the window of a session whose program has ended, if it is still that session's."""
        with contextlib.suppress(LinkLost, TmuxError, ProcessLookupError):
            link = await self.connect(create=False)
            try:
                owner = await link.ask(f"display-message -p -t {place.pane} '#{{pane_pid}}'")
                if owner == [str(place.launcher_pid)]:
                    await link.ask(f"kill-window -t {place.window}")
                    os.kill(place.launcher_pid, signal.SIGKILL)
            finally:
                with trio.move_on_after(_CLEAN_UP_SECONDS, shield=True):
                    await self.let_go(link)
        with contextlib.suppress(OSError):
            os.unlink(place.status_file)

    async def let_go(self, link: Link) -> None:
        """Close a connection that nobody uses."""
        if not link.in_use:
            await link.close()

    async def restore(self, place: Place, capacity: int, start: int) -> tuple[TmuxChild, Transcript]:
        """Take up a session again, with what tmux shows of it as the first output, at offset `start`.

        Raises `LookupError` as `find`.
        """
        link = await self.find(place)
        try:
            child = self._child(link, place)
        except OSError as exc:
            raise LookupError("its tmux pane is gone") from exc
        try:
            await child.begin_with(picture)
        except (TmuxError, LinkLost):
            with trio.CancelScope(shield=True):
                await child.aclose()
            raise LookupError("its tmux pane is gone") from None
        return child, Transcript(Ring.anonymous(capacity, start))


async def picture(link: Link, pane: str, on_answer: Callable[[], None]) -> bytes:
    """Return bytes that show what tmux has of a pane: its history, its screen and where the cursor is."""
    where = await link.ask(f"display-message -p -t {pane} '#{{alternate_on}} #{{cursor_y}} #{{cursor_x}}'")
    alternate, row, column = (int(word) for word in where[0].split())
    lines = await link.ask(f"capture-pane -p -e -t {pane}{'' if alternate else ' -S -'}", on_answer)
    text = ("\x1b[?1049h" if alternate else "") + "\r\n".join(lines)
    return f"{text}\x1b[m\x1b[{row + 1};{column + 1}H".encode()


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[trio.socket.SocketType]:
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with trio.socket.from_stdlib_socket(raw) as listener:
        raw.bind(str(path))
        try:
            raw.listen(1)
            yield listener
        finally:
            path.unlink(missing_ok=True)


async def _hand_over(
    listener: trio.socket.SocketType, spec: ChildSpec, path: str
) -> tuple[int, trio.socket.SocketType]:
    """Tell the launcher what to run; return the pid of what will become the program."""
    stream, _ = await listener.accept()
    try:
        body = json.dumps(
            {
                "argv": spec.argv,
                "path": path,
                "cwd": spec.cwd,
                "env": spec.env,
                "rows": spec.size.rows,
                "cols": spec.size.cols,
                "echo": spec.echo,
                "nofile": nofile.inherited(),
            }
        ).encode()
        await trio.SocketStream(stream).send_all(len(body).to_bytes(4, "big") + body)
        line = await _line(stream)
        if not line.startswith(b"P "):
            raise SpawnFailed(f"cannot run {spec.argv[0]}: its launcher has failed")
        return int(line[2:]), stream
    except BaseException:
        stream.close()
        raise


async def _let_go(stream: trio.socket.SocketType, spec: ChildSpec) -> None:
    """Let the program begin. Raises `SpawnFailed` with the system's reason when it cannot."""
    await stream.send(b"g")
    line = await _line(stream)
    if line:
        _, number, name = line.decode(errors="replace").rstrip("\n").split(" ", 2)
        raise spawn_failed(spec, OSError(int(number), os.strerror(int(number)), name))


async def _line(stream: trio.socket.SocketType) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        with contextlib.suppress(ConnectionResetError):
            piece = await stream.recv(4096)
            if piece:
                data += piece
                continue
        return data
    return data
