"""Running one command in a session's shell: finding the shell ready, typing, and knowing when it is done.

How it works: with shell integration the marks tell all of it, and are trusted. Where there are none (another shell
inside, ssh, dash) the command is typed between two `printf`s whose output nobody could have printed before, and the
second tells the exit status. Their words are typed in two halves each, so that the echo of the line is no match.
"""

import math
import re
import secrets
from collections.abc import Callable
from typing import Final, Literal

import trio

from ptybridge.api import command as api
from ptybridge.core import procinfo
from ptybridge.core.cleantext import clean
from ptybridge.core.commands import Command
from ptybridge.core.housekeeping import waits_for_input
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions
from ptybridge.errors import Busy, Conflict
from ptybridge.service.outputs import Collector
from ptybridge.wire import keys

Reason = Literal["completed", "timeout", "exited", "needs_input", "gap"]

READ_BYTES: Final = 64 * 1024
LOOK_SECONDS: Final = 0.1
# A shell that has just been started reads the user's files first.
START_SECONDS: Final = 10.0
# So long a prompt may take from its first mark to its last, or a line to run after Enter.
SETTLE_SECONDS: Final = 2.0
QUIET_SECONDS: Final = 0.3
INTERRUPT_SECONDS: Final = 0.15
NEEDS_INPUT_SECONDS: Final = 1.0

# Foreground programs that take command lines as POSIX shells do; what is behind the second group nobody here can know.
_SHELLS: Final = frozenset("bash sh dash zsh fish ksh mksh ash busybox rbash".split())
# These edit lines at their prompts, with the terminal in raw mode.
_EDITING: Final = frozenset({"bash", "zsh", "fish"})
_DOORS: Final = frozenset(
    "ssh docker podman kubectl nsenter su sudo doas machinectl lxc incus chroot mosh-client".split()
)
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f]")


class Runner:
    """One call of `command.run`, which has the session's turn."""

    def __init__(self, sessions: Sessions, session: Session, params: api.RunCommand, deadline: float) -> None:
        self.sessions, self.session, self.params, self.deadline = sessions, session, params, deadline
        self.commands = session.commands
        self.output = Collector(params.max_output_bytes, cleaned=params.clean, cols=session.size.cols)
        self.position = session.log.end
        self.began_at = trio.current_time()

    async def run(self, may_write: Callable[[], None]) -> api.Ran:
        """Run it. Raises `Busy`, and what `may_write` and writing raise; then nothing was typed.

        `may_write` is asked once the shell is ready, because the lease may have moved while this waited for it.
        """
        via = await self._ready()
        may_write()
        log = self.session.log
        begin = self.position = log.end
        log.add_floor(self._floor)
        try:
            self.began_at = trio.current_time()
            return await (self._by_marks(begin) if via == "marks" else self._by_markers(begin))
        finally:
            log.remove_floor(self._floor)

    def _floor(self) -> int | None:
        return None if self.session.log.closed else self.position

    # -- finding the shell ready ----------------------------------------------------------------------------

    async def _ready(self) -> Literal["marks", "markers"]:
        started = trio.current_time()
        patience = min(self.deadline, started + START_SECONDS)
        while True:
            self.session.require_running()
            via, problem, passing = self._look()
            if via is not None:
                await trio.lowlevel.checkpoint()
                return via
            limit = self.deadline if self.params.wait else patience if passing else started
            if not self.params.wait and passing == "settling":
                limit = min(patience, started + SETTLE_SECONDS)
            if trio.current_time() >= limit:
                raise Busy(f"session {self.session.session_id}: {problem}", running=self._running_text())
            with trio.move_on_at(min(limit, trio.current_time() + LOOK_SECONDS)):
                await self.session.log.reader(self.session.log.end).wait()

    def _look(self) -> tuple[Literal["marks", "markers"] | None, str, Literal["starting", "settling"] | None]:
        """Return how to run a command now; else what is in the way, and whether that should pass by itself."""
        commands, wanted = self.commands, self.params.via
        commands.catch_up()
        if wanted == "markers" or self.session.child.backend == "pipes":
            return "markers", "", None
        if not commands.active:
            if wanted == "marks":
                raise Conflict(f"session {self.session.session_id} has no shell integration", hint="use `via` markers")
            return self._look_inside("no shell waits for a command there")
        if commands.state == "starting":
            if wanted == "auto" and self._blocked(NEEDS_INPUT_SECONDS):
                return self._look_inside("its shell is still starting")
            return None, "its shell is still starting", "starting"
        if commands.at_prompt:
            # A shell that is interrupted drops what it reads meanwhile; not all show a new prompt then.
            recent = trio.current_time() - self.session.input.interrupted_at < SETTLE_SECONDS
            if recent and not self._blocked(INTERRUPT_SECONDS):
                return None, "it was just interrupted", "settling"
            if self._typed():
                return None, "somebody has typed at the prompt", None
            return "marks", "", None
        if commands.state == "prompt":
            if commands.shown == commands.prompt:
                return None, "an unfinished line stands at the prompt", "settling"
            if wanted == "auto" and self._blocked(NEEDS_INPUT_SECONDS):
                return self._look_inside("its prompt does not show")  # something has taken our marks out of it
            return None, "its prompt is about to show", "settling"
        if wanted == "auto":
            return self._look_inside(f"{self._running_text() or 'a command'} runs")
        return None, f"{self._running_text() or 'a command'} runs", None

    def _look_inside(
        self, problem: str
    ) -> tuple[Literal["marks", "markers"] | None, str, Literal["starting", "settling"] | None]:
        name = self._foreground()
        if name is None or (name not in _SHELLS and name not in _DOORS):
            return None, f"{problem} ({name} has the terminal)" if name else problem, None
        mode = self.session.child.line_mode()
        if name in _EDITING and mode is not None and mode.canonical:
            return None, problem, None  # it is no line editor that reads, but its `read` or a program's
        if self.session.follower.screen.alternate:
            return None, problem, None
        return ("markers", "", None) if self._blocked(QUIET_SECONDS) else (None, problem, "settling")

    def _foreground(self) -> str | None:
        pgid = self.session.child.foreground_pgid()
        found = procinfo.foreground(pgid) if pgid is not None else None
        return found.name if found is not None else None

    def _blocked(self, silence: float) -> bool:
        session = self.session
        if trio.current_time() - session.active_at < silence:
            return False
        pgid = session.child.foreground_pgid()
        return pgid is not None and procinfo.is_blocked_reading_terminal(pgid, session.child.pid) is not False

    def _typed(self) -> bool:
        """Whether something stands at the prompt that was not run."""
        commands, log = self.commands, self.session.log
        if commands.echo_offset is None:
            return commands.count_input()[1] != commands.bytes_seen and self.session.input.unfinished
        bash = self.session.command[0].rpartition("/")[2] == "bash"
        if not bash and commands.count_input()[1] == commands.bytes_seen:
            return False  # a right prompt or a suggestion is no input, and bash has neither
        _, echo = log.read(commands.echo_offset, READ_BYTES)
        # What stands before the echo of an interrupt is gone.
        return bool(clean(echo).rpartition("^C")[2].strip())

    def _running_text(self) -> str | None:
        running = self.commands.running
        if running is not None and running.command:
            return running.command.splitlines()[0][:200]
        return self._foreground()

    # -- with marks -----------------------------------------------------------------------------------------

    async def _by_marks(self, begin: int) -> api.Ran:
        session, commands = self.session, self.commands
        prompt, newest, shown_at = commands.prompt, commands.newest, commands.shown_offset
        await session.input.write_made(self._typed_command)
        while True:
            commands.catch_up()
            one = next(iter(commands.since(newest)), None)
            await self._collect(one)
            if commands.prompt > prompt and ((commands.shown or 0) > prompt or self._quiet(QUIET_SECONDS)):
                if one is None:
                    # The shell refused the line: a syntax error, an unknown `!event`. What it said is the output.
                    self._feed_between(shown_at, commands.prompt_offset)
                code = one.exit_code if one is not None else commands.last_exit_code
                return self._answer("completed", "marks", begin, one, code)
            reason = self._ended()
            if reason is not None:
                return self._answer(reason, "marks", begin, one, None)
            await self._wait()

    async def _typed_command(self) -> bytes:
        text = self.params.command.rstrip("\r\n")
        if not _CONTROLS.search(text):
            await trio.lowlevel.checkpoint()
            return text.encode("utf-8", "surrogatepass") + b"\r"
        await self.session.follower.catch_up()
        modes = keys.KeyModes(bracketed_paste=self.session.follower.screen.modes.bracketed_paste)
        if modes.bracketed_paste:
            return keys.encode_paste(text.encode("utf-8", "surrogatepass"), modes) + b"\r"
        # Without bracketed paste each line would be a command of its own, and a tab would complete.
        return f" eval {_quoted(text, fish=self._foreground() == 'fish')}".encode("utf-8", "surrogatepass") + b"\r"

    async def _collect(self, one: Command | None) -> None:
        if one is None:
            return
        self.position = max(self.position, one.output_start)
        while True:
            end = one.output_end if one.output_end is not None else self.commands.offset
            if self.position >= end:
                return
            self.position += self._feed_between(self.position, min(end, self.position + READ_BYTES))
            self.session.log.floor_moved()
            await trio.lowlevel.checkpoint()

    def _feed_between(self, start: int, end: int) -> int:
        at, data = self.session.log.read(start, max(0, end - start))
        self.output.feed(data[: max(0, end - at)])
        return max(end - start, 0)

    # -- with markers ---------------------------------------------------------------------------------------

    async def _by_markers(self, begin: int) -> api.Ran:
        session = self.session
        token = secrets.token_hex(8)
        first = re.compile(b"ptyb-%b-begin\r?\n" % token.encode())
        last = re.compile(b"\r?\n?ptyb-%b-end:([0-9]+):" % token.encode())
        fish = self._foreground() == "fish"
        text = _quoted(self.params.command.rstrip("\r\n"), fish=fish)
        # The leading space keeps the line out of most histories.
        line = (
            f" printf '%s%s\\n' ptyb- {token}-begin; eval {text}; "
            f"printf '\\n%s%s:%s:\\n' ptyb- {token}-end {'$status' if fish else '$?'}"
        )
        enter = b"\r" if session.child.backend != "pipes" else b"\n"
        await session.input.write(line.encode("utf-8", "surrogatepass") + enter)
        held, started, output_start = b"", False, begin
        while True:
            while self.position < session.log.end:
                at, data = session.log.read(self.position, READ_BYTES)
                if at > self.position:
                    return self._answer("gap", "markers", begin, None, None, started=started)
                self.position += len(data)
                session.log.floor_moved()
                held += data
                if not started:
                    found = first.search(held)
                    if found is None:
                        held = held[-128:]
                        continue
                    started, held = True, held[found.end() :]
                    output_start = self.position - len(held)
                ended = last.search(held)
                if ended is not None:
                    self.output.feed(held[: ended.start()])
                    end = self.position - len(held) + ended.start()
                    seconds = trio.current_time() - self.began_at
                    code = int(ended[1])
                    one = self.commands.note(self.params.command, begin, output_start, end, code, seconds)
                    return self._answer("completed", "markers", begin, one, code)
                self.output.feed(held[:-128])
                held = held[-128:]
                await trio.lowlevel.checkpoint()
            reason = self._ended()
            if reason is not None:
                if started:
                    self.output.feed(held)
                return self._answer(reason, "markers", begin, None, None, started=started)
            await self._wait()

    # -- both -----------------------------------------------------------------------------------------------

    def _quiet(self, silence: float) -> bool:
        return trio.current_time() - self.session.active_at >= silence

    def _ended(self) -> Reason | None:
        """Return why to stop waiting though the command is not done."""
        session = self.session
        if session.exited.is_set() and session.log.end <= max(self.position, self.commands.offset):
            return "exited"
        if trio.current_time() >= self.deadline:
            return "timeout"
        waits = self.params.needs_input and self._quiet(NEEDS_INPUT_SECONDS) and waits_for_input(session)
        return "needs_input" if waits else None

    async def _wait(self) -> None:
        log = self.session.log
        with trio.move_on_at(min(self.deadline, trio.current_time() + LOOK_SECONDS)):
            await log.reader(max(self.position, self.commands.offset if self.commands.active else 0, log.end)).wait()

    def _answer(
        self,
        reason: Reason,
        via: Literal["marks", "markers"],
        begin: int,
        one: Command | None,
        code: int | None,
        *,
        started: bool | None = None,
    ) -> api.Ran:
        output, truncated = self.output.result(ended=reason == "completed")
        session = self.session
        end = one.output_end if one is not None else None
        return api.Ran(
            reason=reason,
            exit_code=code,
            output=output,
            truncated=truncated,
            duration_ms=int((trio.current_time() - self.began_at) * 1000),
            cwd=self.commands.cwd if via == "marks" else None,
            number=one.number if one is not None else None,
            via=via,
            started=started if started is not None else one is not None,
            alternate_screen=session.follower.screen.alternate,
            offset=one.output_start if one is not None else begin,
            next_offset=end if end is not None else max(self.position, begin),
        )


def _quoted(text: str, *, fish: bool) -> str:
    """Quote a command line for `eval`."""
    if fish:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return "'" + text.replace("'", "'\\''") + "'"


def deadline_of(timeout_ms: int | None) -> float:
    """Return when a call that may take so long ends, on trio's clock."""
    return math.inf if timeout_ms is None else trio.current_time() + timeout_ms / 1000
