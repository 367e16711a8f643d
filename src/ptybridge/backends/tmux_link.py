"""One control-mode connection to one private tmux server: commands and their answers, output and other news.

How it works: `tmux -C` hands its standard streams to the server, which writes to them only as fast as we read: then
it stops reading its panes, so nothing is lost however slow we are. One task reads, one writes; whoever asks waits for
the answer with its turn. The control session has all windows of the server (those of workspaces are linked into it),
because a client is sent the output of its own session's panes only. The server ends with its last window.

Two things that tmux (3.3a) does must not be met. It takes commands from the connection even before those it was
started with, so nothing is sent until it says that the client is in its session. And it crashes when a session's
current window and then its last one are closed before it had time to tell of the first; so windows are closed one
after the other.
"""

import contextlib
import logging
import os
import re
import resource
import shutil
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import trio

from ptybridge.backends import nofile
from ptybridge.backends.tmux_protocol import Notice, Output, Parser, Reply
from ptybridge.errors import Unavailable

log = logging.getLogger(__name__)

OLDEST_VERSION: Final = (3, 2)
CONTROL_SESSION: Final = "ptybridge"
# A session needs a window; this one goes as soon as there is a real one, whose names never have parentheses.
_PLACEHOLDER: Final = "(placeholder)"
_READ_BYTES: Final = 1 << 16
# tmux answers in milliseconds; only a stopped or hung one takes longer.
ANSWER_SECONDS: Final = 20.0
CLOSE_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.02
# So much output of one pane may wait here; beyond it nobody's output is read until there is room.
MAX_BACKLOG_BYTES: Final = 4 << 20
# Windows outlive their programs, and tmux has no keys of its own. (`window-size manual` comes with each
# `resize-window`; set for all, tmux 3.3a crashes as it makes its first session.)
_OPTIONS: Final = (
    ("set", "-g", "remain-on-exit", "on"),
    ("set", "-g", "history-limit", "2000"),
    ("set", "-g", "prefix", "None"),
    ("set", "-g", "status", "off"),
    ("set", "-g", "automatic-rename", "off"),
    ("set", "-g", "allow-rename", "off"),
    ("set", "-s", "escape-time", "0"),
    ("set", "-s", "set-clipboard", "off"),
    ("set", "-s", "exit-empty", "on"),
)
_INSTALL: Final = "install tmux 3.2 or later (such as `apt install tmux`, `brew install tmux`), or use backend pty"


class TmuxError(Exception):
    """tmux refused a command; the text is its own."""


class LinkLost(Exception):
    """The connection, or the server itself, has ended."""


class PaneClient(Protocol):
    """Who is told of a pane."""

    window: str
    backlog: int

    def deliver(self, data: bytes) -> None: ...
    def output_ended(self) -> None: ...
    async def wait_drained(self) -> None: ...


def find_tmux() -> str:
    """Return the program's path. Raises `Unavailable` with what to do."""
    path = shutil.which("tmux")
    if path is None:
        raise Unavailable("tmux is not installed", hint=_INSTALL)
    return path


async def check_version(path: str) -> None:
    """Raise `Unavailable` when that tmux is older than those this is made for."""
    try:
        said = (await trio.run_process([path, "-V"], capture_stdout=True)).stdout.decode(errors="replace").strip()
    except (OSError, subprocess.CalledProcessError) as exc:
        raise Unavailable(f"tmux cannot be started: {exc}", hint=_INSTALL) from exc
    found = re.search(r"(\d+)\.(\d+)", said)
    # A development version ("tmux master") tells no number, and is newer.
    if found is not None and (int(found[1]), int(found[2])) < OLDEST_VERSION:
        raise Unavailable(f"{path} is {said}, which is too old", hint=_INSTALL)


def limited(command: list[str]) -> list[str]:
    """Return the command with the limit on descriptors of our own start; tmux tries all that it may have."""
    soft = nofile.inherited()[0]
    limit = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
    return ["/bin/sh", "-c", 'ulimit -Sn "$0" && exec "$@"', limit, *command]


def tmux_environment() -> dict[str, str]:
    """Return what the server gets of our environment: programs in it get their own from elsewhere."""
    kept = {name: value for name in ("PATH", "HOME", "USER") if (value := os.environ.get(name))}
    return kept | {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "SHELL": "/bin/sh", "TERM": "xterm-256color"}


class Link:
    """A connection. `open`, then `run` in a nursery until `close` or until the server ends."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.panes: dict[str, PaneClient] = {}
        self.ended = trio.Event()
        self.users = 0  # who is about to put a pane here
        self.leaving = False
        self._gone = trio.Event()
        self._process: trio.Process | None = None
        self._parser = Parser()
        self._unsent = bytearray()
        self._wake = trio.Event()
        self._waiting: deque[Callable[[Reply | None], None]] = deque()
        self._ready = trio.Event()
        self._placeholders: list[str] = []
        self._closing: deque[str] = deque()
        self._all_closed = trio.Event()
        self.unclosed: list[str] = []  # windows that were to be closed when the connection broke
        # Called when the connection breaks that somebody needs, instead of telling that all output has ended.
        self.on_broken: Callable[[], None] | None = None

    async def forgotten(self) -> None:
        """Wait until the server has noticed that this ended client is gone.

        tmux 3.3a tells the clients in control mode of that, and crashes when one of them has not said all of its hello.
        """
        process = self._process
        if process is None:
            return
        command = [find_tmux(), "-N", "-S", str(self.socket), "list-clients", "-F", "#{client_pid}"]
        with trio.move_on_after(CLOSE_SECONDS):
            await self._gone.wait()
            while True:
                listed = await trio.run_process(
                    command, check=False, capture_stdout=True, stderr=subprocess.DEVNULL, env=tmux_environment()
                )
                if str(process.pid) not in listed.stdout.decode().split():
                    return
                await trio.sleep(_POLL_SECONDS)

    @property
    def in_use(self) -> bool:
        """Whether anybody still needs the connection."""
        return bool(self.panes or self.users)

    async def open(self, *, create: bool) -> None:
        """Start the client: on the running server only, or (`create`) with a new one. Raises `Unavailable`."""
        program = find_tmux()
        if create:
            await check_version(program)
        command = [program, "-u", "-S", str(self.socket), "-f", os.devnull, "-C"]
        if create:
            command += ["start-server"]
            for option in _OPTIONS:
                command += [";", *option]
            command += [";", "new-session", "-s", CONTROL_SESSION, "-n", _PLACEHOLDER, "cat"]
        else:
            # Without -N, attaching starts a server as well, one without our options.
            command += ["-N", "attach-session", "-t", f"={CONTROL_SESSION}"]
        try:
            self._process = await trio.lowlevel.open_process(
                limited(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=tmux_environment(),
                cwd="/",
                start_new_session=True,
            )
        except OSError as exc:
            raise Unavailable(f"tmux cannot be started: {exc}") from exc

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read and write until the connection ends."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                task_status.started()
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            self.ended.set()
            self._ready.set()
            while self._waiting:
                self._waiting.popleft()(None)
            if self.on_broken is not None and (self.panes or self.unclosed):
                self.on_broken()
            else:
                for pane in tuple(self.panes.values()):
                    pane.output_ended()
            with trio.CancelScope(shield=True):
                await self._end_process()
            self._gone.set()

    async def attached(self) -> None:
        """Wait until commands have their meaning. Raises `LinkLost` when there is no session, `Unavailable`."""
        with trio.move_on_after(ANSWER_SECONDS) as scope:
            await self._ready.wait()
        if scope.cancelled_caught:
            raise Unavailable("tmux does not answer")
        if self.ended.is_set():
            raise LinkLost
        # A daemon before us may have left one behind.
        windows = await self.ask(f"list-windows -t ={CONTROL_SESSION}: -F '#{{window_id}} #{{window_name}}'")
        self._placeholders = [line.split(" ")[0] for line in windows if line.endswith(f" {_PLACEHOLDER}")]

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while True:
            try:
                data = await self._process.stdout.receive_some(_READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not data:
                return
            touched: set[str] = set()
            for event in self._parser.feed(bytes(data)):
                if isinstance(event, Output):
                    pane = self.panes.get(event.pane)
                    if pane is not None:
                        pane.deliver(event.data)
                        touched.add(event.pane)
                elif isinstance(event, Reply):
                    if self._waiting:
                        self._waiting.popleft()(event)
                elif self._notice(event):
                    return
            for name in touched:
                pane = self.panes.get(name)
                if pane is not None and pane.backlog > MAX_BACKLOG_BYTES:
                    await pane.wait_drained()

    def _notice(self, event: Notice) -> bool:
        """Act on a notification; return whether it is the last one."""
        if event.name in {"window-close", "unlinked-window-close"}:
            self._output_ended(event.rest.strip())
        elif event.name == "session-changed":
            self._ready.set()
        return event.name == "exit"

    def _output_ended(self, window: str) -> None:
        for pane in tuple(self.panes.values()):
            if pane.window == window:
                pane.output_ended()

    # -- commands -------------------------------------------------------------------------------------------

    def post(self, command: str, on_reply: Callable[[Reply | None], None] = lambda reply: None) -> None:
        """Send a command; `on_reply` gets its answer, None when the connection ends without one."""
        if self.ended.is_set():
            on_reply(None)
            return
        self._waiting.append(on_reply)
        self._unsent += command.encode() + b"\n"
        self._wake.set()

    async def ask(self, command: str, on_answer: Callable[[], None] = lambda: None) -> list[str]:
        """Send a command and return the lines of its answer; `on_answer` is called before anything after it is read.

        Raises `TmuxError`, `LinkLost`, `Unavailable`.
        """
        answered = trio.Event()
        answers: list[Reply | None] = []

        def note(reply: Reply | None) -> None:
            answers.append(reply)
            on_answer()
            answered.set()

        self.post(command, note)
        with trio.move_on_after(ANSWER_SECONDS) as scope:
            await answered.wait()
        if scope.cancelled_caught:
            raise Unavailable("tmux does not answer")
        reply = answers[0]
        if reply is None:
            raise LinkLost
        lines = [line.decode(errors="replace") for line in reply.lines]
        if reply.failed:
            raise TmuxError("; ".join(lines))
        return lines

    def close_window(self, window: str) -> None:
        """Close a window, after those that are being closed."""
        if self.ended.is_set():
            return
        self._closing.append(window)
        if len(self._closing) == 1:
            self._all_closed = trio.Event()
            self._close_next()

    def _close_next(self) -> None:
        self.post(f"kill-window -t {self._closing[0]}", self._closed)

    def _closed(self, reply: Reply | None) -> None:
        if reply is None:
            self.unclosed += self._closing
            self._closing.clear()
        else:
            self._closing.popleft()
        if self._closing:
            self._close_next()
        else:
            self._all_closed.set()

    def close_placeholder(self) -> None:
        """Close the window that held the place of the first one."""
        for window in self._placeholders:
            self.close_window(window)
        self._placeholders = []

    async def _write(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._unsent:
                data, self._unsent = bytes(self._unsent), bytearray()
                try:
                    await self._process.stdin.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return  # the reader finds out, too

    # -- the end --------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Detach once all commands are answered; the server goes on as long as it has windows. Bounded."""
        self.leaving = True
        with trio.move_on_after(CLOSE_SECONDS, shield=True), contextlib.suppress(TmuxError, Unavailable):
            self.close_placeholder()
            if self._closing:
                await self._all_closed.wait()
            with contextlib.suppress(LinkLost):
                await self.ask("detach-client")
            await self._gone.wait()
        if self._process is not None and not self._gone.is_set():
            self._process.kill()

    async def _end_process(self) -> None:
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            await process.stdin.aclose()
        with trio.move_on_after(CLOSE_SECONDS) as scope:
            await process.wait()
        if scope.cancelled_caught:
            process.kill()
            await process.wait()
        if process.stdout is not None:
            await process.stdout.aclose()
