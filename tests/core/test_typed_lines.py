"""What is typed at a shell, put together to lines."""

import pytest

from ptybridge.core import typed_lines
from ptybridge.core.shellparse import unfinished
from ptybridge.core.typed_lines import MAX_LINE, State, Typed, play, remembered


def typed(*writes: bytes, line_mode: bool = False, pastes: bool = True) -> Typed:
    """Type each; return what the last would do."""
    state = State()
    for data in writes[:-1]:
        done = play(state, data, line_mode=line_mode, pastes=pastes)
        state = remembered(done, unfinished=done.entered is not None and unfinished(done.script))
    return play(state, writes[-1], line_mode=line_mode, pastes=pastes)


@pytest.mark.parametrize(
    ("writes", "script"),
    [
        ([b"ls\r"], "ls\n"),
        ([b"ls\n"], "ls\n"),
        ([b"l", b"s", b"\r"], "ls\n"),
        ([b"a\rb\rc"], "a\nb\n"),
        ([b"lx\x7fs\r"], "ls\n"),
        ([b"lx\x08s\r"], "ls\n"),
        ([b"rm -rf /\x15ls\r"], "ls\n"),
        ([b"echo rm\x17ls\r"], "echo ls\n"),
        ([b"echo a-b\x1b\x7fc\r"], "echo a-c\n"),
        ([b"rm -rf /\x03ls\r"], "ls\n"),
        ([b"-rf /\x01rm \r"], "rm -rf /\n"),
        ([b"m -rf /\x1b[H", b"r\r"], "rm -rf /\n"),
        ([b"rm -r /\x1b[D\x1b[Df\x1bOC\r"], "rm -rf /\n"),
        ([b"rm -rf /\x15", b"\x19\r"], "rm -rf /\n"),
        ([b"rm -rf /\x15", b"\x1f\r"], "rm -rf /\n"),
        ([b"rm -rf /\x17\x17\x17\x19\r"], "rm -rf /\n"),
        ([b"rm / -rf\x01\x1bf\x1bf\x0b\r"], "rm / -rf\n"),
        ([b"rm x y\x01\x1bf\x0b\r"], "rm\n"),
        ([b"x rm\x01\x1bd\x04\r"], "rm\n"),
        ([b"mr\x14\r"], "rm\n"),
        ([b"rm x\x1bbz\r"], "rm zx\n"),
        ([b"ls\x0f"], "ls\n"),
        ([b"ls\x1bOM"], "ls\n"),
        ([b"ls\x1b[13u"], "ls\n"),
        ([b"x\x1b[117;5uls\x1b[13;1:1u"], "ls\n"),
        ([b"a\x16\rb\r"], "a\rb\n"),
        ([b"ls\x1b[A\r"], "ls\n"),
        ([b"ls \x1b", b"[", b"Dx\r"], "lsx \n"),
        ([b"\xc3", b"\xa4\x7fls\r"], "ls\n"),
        ([b"\x1b[200~a\nb\x1b[201~", b"\r"], "a\nb\n"),
        ([b"\x1b[200~a\x03b\x1b[201~\r"], "a\x03b\n"),
    ],
)
def test_lines_are_what_the_editor_would_hold(writes: list[bytes], script: str) -> None:
    assert typed(*writes).script == script


@pytest.mark.parametrize(
    ("writes", "script"),
    [
        ([b"rm x\x15ls\n"], "ls\n"),
        ([b"rm\x02x\n"], "rm\x02x\n"),
        ([b"ls", b"\x04"], "ls"),
        ([b"ls\x04 -l\n"], "lsls -l\n"),
        ([b"x\x1c", b"ls\n"], "ls\n"),
    ],
)
def test_a_terminal_in_line_mode_knows_fewer_keys(writes: list[bytes], script: str) -> None:
    assert typed(*writes, line_mode=True).script == script


def test_nothing_is_entered_before_enter() -> None:
    assert typed(b"rm -rf /").entered is None
    assert typed(b"\x1b[200~rm -rf /\n\x1b[201~").entered is None
    assert typed(b"", line_mode=True).entered is None
    assert typed(b"\x04", line_mode=True).entered is None


def test_a_shell_without_pastes_runs_their_lines() -> None:
    assert typed(b"\x1b[200~a\nb\n", pastes=False).script == "a\nb\n"


@pytest.mark.parametrize(
    ("writes", "script"),
    [
        ([b"rm \\\r", b"-rf /\r"], "rm \\\n-rf /\n"),
        ([b"cat <<EOF\r", b"rm -rf /\r"], "cat <<EOF\nrm -rf /\n"),
        ([b"cat <<EOF\r", b"a\rEOF\r", b"ls\r"], "ls\n"),
        ([b"echo 'a\r", b"b'\r"], "echo 'a\nb'\n"),
        ([b"echo 'a\r", b"\x03", b"ls\r"], "ls\n"),
        ([b"if true\r", b"then ls\r", b"fi\r"], "if true\nthen ls\nfi\n"),
    ],
)
def test_unfinished_commands_go_on(writes: list[bytes], script: str) -> None:
    assert typed(*writes).script == script


def test_memory_is_bounded() -> None:
    done = typed(b"x" * 3 * MAX_LINE)
    assert len(done.after.line) == MAX_LINE
    assert done.after.too_long
    assert play(done.after, b"\r").too_long
    assert not play(done.after, b"\x03ls\r").too_long
    many = typed(b"true\r" * MAX_LINE)
    assert many.too_long
    assert len(many.script) <= MAX_LINE
    state = State()
    for _ in range(1000):
        state = remembered(play(state, b"(" * 100 + b"\r"), unfinished=True)
    assert len(state.before) <= typed_lines.KEPT_CHARACTERS
    assert len(typed(b"\x1b[" + b"1" * 100_000).after.held) < 100


def test_a_flood_of_edits_is_too_long_to_be_judged() -> None:
    flood = b"x" * 10_000 + b"\x1bb\x1bf" * 50_000 + b"\r"
    assert typed(flood).too_long
