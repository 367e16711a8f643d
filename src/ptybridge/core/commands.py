"""The commands of a shell session: what ran where, what it printed, how it ended — as the shell's marks tell.

How it works: a `MarkScanner` reads the transcript, on demand and in a task of its own; the transcript's writer does not
overwrite what is not yet scanned. Only marks with the session's nonce are believed, and of those only the ones whose
number fits: the shell counts its prompts, so that marks which are printed a second time (a log of this very session)
prove nothing. Others may come from anything that prints. They are listed as untrusted and change nothing else.

One prompt's life: D (the last command's exit code), P (directory), A (prompt), B (input begins: the prompt shows),
E (the command line), C (its output begins), and again D.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Literal

import msgspec
import trio

from ptybridge.core.cleantext import clean
from ptybridge.core.eventlog import now_ms
from ptybridge.core.marks import Mark, MarkScanner
from ptybridge.core.transcript import Transcript

KEPT_COMMANDS: Final = 1000
# Notes about a session are small.
SAVED_COMMANDS: Final = 200
SAVED_TEXT: Final = 500
SCAN_BYTES: Final = 256 * 1024
SAVE_SECONDS: Final = 0.5
# While output pours the scanner lets it gather; who asks for it catches up first.
LAG_SECONDS: Final = 0.005
_ECHO_BYTES: Final = 64 * 1024

State = Literal["off", "starting", "prompt", "running"]


class Command(msgspec.Struct, kw_only=True):
    """One command. Offsets are the transcript's; the output lies between `output_start` and `output_end`."""

    number: int
    command: str | None
    cwd: str | None
    offset: int
    output_start: int
    output_end: int | None = None
    exit_code: int | None = None
    started_at_ms: int
    ended_at_ms: int | None = None
    trusted: bool = True


class SavedCommands(msgspec.Struct, kw_only=True):
    """What of a session's commands outlives the daemon. The transcript from `offset` on is scanned again."""

    nonce: str
    offset: int
    prompt: int
    state: State
    cwd: str | None
    prompt_offset: int
    count: int
    history: list[Command]
    shown: int | None = None
    shown_offset: int = 0
    echo_offset: int | None = 0


class CommandLog:
    """The commands of one session. Without a nonce it stays `off` and costs nothing."""

    def __init__(self, log: Transcript, nonce: str | None = None, saved: SavedCommands | None = None) -> None:
        self.log = log
        self.nonce = saved.nonce if saved is not None else nonce
        self.state: State = "off" if self.nonce is None else "starting"
        self.cwd: str | None = None
        self.history: deque[Command] = deque(maxlen=KEPT_COMMANDS)
        self.untrusted_marks = 0
        # Where the marks of prompts begin and end, oldest first.
        self.prompts: deque[tuple[int, int]] = deque(maxlen=KEPT_COMMANDS)
        # Which prompt shows (B was seen), and where its A stands.
        self.prompt_offset = 0
        self.shown: int | None = None
        self.shown_offset = 0
        # What stands at the prompt is echoed from here on; shells show a prompt anew, for example after a resize.
        self.echo_offset: int | None = 0
        # Of the last line entered, also of one that the shell refused.
        self.last_exit_code: int | None = None
        # How often Enter had been pressed when the prompt was seen: what was typed since has not run yet.
        self.enters_seen = 0
        self.bytes_seen = 0
        self.count_input: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self.on_saved: Callable[[], None] = lambda: None
        # Runs in this session take turns.
        self.turn = trio.Lock()
        self._prompt = 0
        self._count = 0
        self._running: Command | None = None
        self._foreign: Command | None = None
        self._foreign_text: str | None = None
        self._text: tuple[str, bool] | None = None
        self._line_offset = 0
        self._scanner = MarkScanner(log.start, self.nonce)
        self._saved_changes: tuple[object, ...] = ()
        if saved is not None:
            self._restore(saved)

    @property
    def active(self) -> bool:
        """Whether the session's shell was given marks."""
        return self.nonce is not None

    @property
    def offset(self) -> int:
        """Up to where the transcript is scanned."""
        return self._scanner.offset

    @property
    def running(self) -> Command | None:
        """The command that runs."""
        return self._running if self.state == "running" else None

    @property
    def at_prompt(self) -> bool:
        """Whether a trusted prompt shows and nothing has been entered at it."""
        return self.state == "prompt" and self.shown == self._prompt and self.count_input()[0] == self.enters_seen

    def get(self, number: int) -> Command | None:
        """Return the command of this number, None if it is not kept (any more)."""
        return next((one for one in reversed(self.history) if one.number == number), None)

    def since(self, number: int) -> list[Command]:
        """Return the trusted commands above a number, oldest first."""
        found: list[Command] = []
        for one in reversed(self.history):
            if one.number <= number:
                break
            if one.trusted:
                found.append(one)
        return found[::-1]

    async def prompts_until(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return where the prompts' marks begin and end that end behind `start`, up to `end`.

        Without marks there are none. Scans as far as is needed; a checkpoint if that is much.
        """
        while True:
            if not self.active or self._scanner.read_offset >= end or not self._step():
                break
            await trio.lowlevel.checkpoint()
        found = []
        for one in reversed(self.prompts):
            if one[1] <= start:
                break
            if one[1] <= end:
                found.append(one)
        return found[::-1]

    @property
    def prompt(self) -> int:
        """The shell's number of its newest prompt."""
        return self._prompt

    @property
    def newest(self) -> int:
        """The highest number given so far."""
        return self._count

    # -- scanning -------------------------------------------------------------------------------------------

    def floor(self) -> int | None:
        """The transcript's writer must not overwrite what is not scanned."""
        return self._scanner.read_offset if self.active and not self.log.closed else None

    def catch_up(self) -> None:
        """Scan to the transcript's end, at once."""
        if self.active:
            while self._step():
                pass

    def _step(self) -> bool:
        offset, data = self.log.read(self._scanner.read_offset, SCAN_BYTES)
        if not data:
            return False
        for mark in self._scanner.feed(offset, data):
            self._take(mark)
        return self._scanner.read_offset < self.log.end

    async def run(self) -> None:
        """Follow the transcript until it is closed."""
        if not self.active:
            return
        reader = self.log.reader(self._scanner.read_offset)
        saved_at = -1.0
        while True:
            reader.offset = self._scanner.read_offset
            due = self._unsaved() and trio.current_time() - saved_at >= SAVE_SECONDS
            if due:
                saved_at = trio.current_time()
                self._saved_changes = self._changes()
                self.on_saved()
            if self.log.closed and reader.behind <= 0:
                return
            with trio.move_on_after(SAVE_SECONDS if self._unsaved() else float("inf")):
                await reader.wait()
                if not self.log.closed:
                    await trio.sleep(LAG_SECONDS)
            while self._step():
                self.log.floor_moved()
                await trio.lowlevel.checkpoint()
            self.log.floor_moved()

    def _changes(self) -> tuple[object, ...]:
        return self._prompt, self.state, self.shown, self._count

    def _unsaved(self) -> bool:
        return self._changes() != self._saved_changes

    # -- marks ----------------------------------------------------------------------------------------------

    def _take(self, mark: Mark) -> None:
        if mark.number is None or not self._trusted(mark, mark.number):
            self.untrusted_marks += 1
            self._take_foreign(mark)
            return

    def _trusted(self, mark: Mark, number: int) -> bool:
        """Apply a mark with the nonce; False when its number shows that it was printed before."""
        match mark.kind:
            case "P" if number > self._prompt:
                if mark.value.startswith("Cwd="):
                    self.cwd = mark.value[4:]
            case "A" if number > self._prompt:
                self._end(mark.offset, None)
                self._prompt, self.state = number, "prompt"
                self.prompt_offset = mark.offset
                self.prompts.append((mark.offset, mark.end))
                self._text = None
            case "B" if number == self._prompt and self.state == "prompt":
                self.echo_offset = mark.end if mark.value != "early" else None  # the prompt itself still follows
                if self.shown != number:
                    self.shown, self.shown_offset = number, mark.end
                    self.enters_seen, self.bytes_seen = self.count_input()
            case "E" if number == self._prompt and self.state == "prompt":
                self._text, self._line_offset = (mark.value, mark.same), mark.offset
            case "E" if number == self._prompt and self._running is not None:
                # The next of several lines that were entered at once.
                if self._running.command and mark.value and self.state == "running":
                    self._running.command += "\n" + mark.value
            case "C" if number == self._prompt and self.state == "prompt":
                self._begin(mark)
            case "C" if number == self._prompt and self.state == "running":
                pass
            case "D" if number == self._prompt:
                # Not running: nothing was entered (an empty line, Ctrl-C), or the shell refused the line.
                self.last_exit_code = _code(mark.value)
                if self.state == "running":
                    self._end(mark.offset, self.last_exit_code)
            case _:
                return False
        return True

    def _begin(self, mark: Mark) -> None:
        self.state = "running"
        self._running = self._new(self._command_line(), mark, self.prompt_offset, trusted=True)

    def _end(self, offset: int, exit_code: int | None) -> None:
        self._end_foreign(offset, None)
        running, self._running = self._running, None
        if running is not None:
            running.output_end, running.exit_code, running.ended_at_ms = offset, exit_code, now_ms()

    def _new(self, text: str | None, mark: Mark, offset: int, *, trusted: bool) -> Command:
        self._count += 1
        command = Command(
            number=self._count,
            command=text,
            cwd=self.cwd if trusted else None,
            offset=offset,
            output_start=mark.end,
            started_at_ms=now_ms(),
            trusted=trusted,
        )
        self.history.append(command)
        return command

    def _command_line(self) -> str | None:
        """Return the command line the shell told. One that its history already ended with must be echoed, too."""
        if self._text is None:
            return None
        text, same = self._text
        if same:
            # Either it was entered again, or the history did not take what was entered.
            size = min(self._line_offset - self.shown_offset, _ECHO_BYTES)
            echo = clean(self.log.read(self.shown_offset, max(0, size))[1])
            if "".join(echo.split()) != "".join(text.split()) or echo[:1].isspace():
                return None
        return text or None

    def note(self, text: str, offset: int, start: int, end: int, exit_code: int, seconds: float) -> Command:
        """Add a command that ran `seconds` long without marks, so that none of this is proven."""
        self._count += 1
        command = Command(
            number=self._count,
            command=text,
            cwd=None,
            offset=offset,
            output_start=start,
            output_end=end,
            exit_code=exit_code,
            started_at_ms=now_ms() - int(seconds * 1000),
            ended_at_ms=now_ms(),
            trusted=False,
        )
        self.history.append(command)
        return command

    # -- marks of others ------------------------------------------------------------------------------------

    def _take_foreign(self, mark: Mark) -> None:
        """List what untrusted marks say happened within a command; nothing else follows from them."""
        if mark.kind == "E":
            self._foreign_text = mark.value
        elif mark.kind == "C":
            self._end_foreign(mark.offset, None)
            self._foreign = self._new(self._foreign_text, mark, mark.offset, trusted=False)
            self._foreign_text = None
        elif mark.kind == "D" and self._foreign is not None:
            self._end_foreign(mark.offset, _code(mark.value))

    def _end_foreign(self, offset: int, exit_code: int | None) -> None:
        one, self._foreign = self._foreign, None
        if one is not None:
            one.output_end, one.exit_code, one.ended_at_ms = offset, exit_code, now_ms()

    # -- beyond the daemon's life ---------------------------------------------------------------------------

    def saved(self) -> SavedCommands | None:
        """Return what to write down."""
        if self.nonce is None:
            return None
        return SavedCommands(
            nonce=self.nonce,
            offset=self._scanner.offset,
            prompt=self._prompt,
            state=self.state,
            cwd=self.cwd,
            prompt_offset=self.prompt_offset,
            count=self._count,
            history=[_shortened(one) for one in list(self.history)[-SAVED_COMMANDS:]],
            shown=self.shown,
            shown_offset=self.shown_offset,
            echo_offset=self.echo_offset,
        )

    def _restore(self, saved: SavedCommands) -> None:
        self._prompt, self.state, self.cwd = saved.prompt, saved.state, saved.cwd
        self.prompt_offset, self._count, self.shown = saved.prompt_offset, saved.count, saved.shown
        self.shown_offset, self.echo_offset = saved.shown_offset, saved.echo_offset
        self.history.extend(saved.history)
        if saved.state == "running":
            self._running = next((one for one in reversed(saved.history) if one.trusted), None)
        self._scanner = MarkScanner(max(saved.offset, self.log.start), saved.nonce)


def _code(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 12 else None


def _shortened(one: Command) -> Command:
    if one.command is None or len(one.command) <= SAVED_TEXT:
        return one
    return msgspec.structs.replace(one, command=one.command[: SAVED_TEXT - 1] + "…")
