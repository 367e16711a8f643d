"""Marks are found wherever the output is cut, and what is known of commands outlives the daemon."""

import trio

from ptybridge.core.commands import CommandLog
from ptybridge.core.marks import MarkScanner
from ptybridge.core.transcript import Transcript
from ptybridge.keeper.ring import Ring

KEY = b"ptyb=secret:%d"


def osc(text: bytes, number: int | None = None) -> bytes:
    return b"\x1b]" + text + (b";" + KEY % number if number is not None else b"") + b"\x07"


def one_command(number: int, text: bytes, output: bytes, code: int) -> bytes:
    shown = osc(b"633;P;Cwd=/d", number) + osc(b"133;A", number) + b"$ " + osc(b"133;B", number) + text + b"\r\n"
    ran = osc(b"633;E;" + text, number) + osc(b"133;C", number) + output
    return shown + ran + osc(b"133;D;%d" % code, number)


def test_marks_are_found_wherever_the_output_is_cut() -> None:
    data = one_command(1, b"a\\x3bb", b"\x1b[31mred\x1b]0;title\x1b\\\r\n", 3) + b"\x1b]133;A\x1b\\\x1b"
    whole = MarkScanner(0, "secret").feed(0, data)
    assert [one.kind for one in whole] == ["P", "A", "B", "E", "C", "D", "A"]
    assert [one.number for one in whole] == [1, 1, 1, 1, 1, 1, None]
    assert [whole[3].value, whole[5].value] == ["a;b", "3"]
    for size in (1, 2, 3, 7, 50):
        scanner, found = MarkScanner(0, "secret"), []
        for at in range(0, len(data), size):
            found += scanner.feed(at, data[at : at + size])
        assert found == whole
        assert scanner.offset == len(data) - 1


def test_an_endless_mark_is_none_and_costs_no_more_than_its_length() -> None:
    scanner = MarkScanner(0, "secret")
    for at in range(0, 1 << 20, 1 << 16):
        assert scanner.feed(at, (b"\x1b]133;" + b"x" * (1 << 16))[: 1 << 16]) == []
        assert scanner.read_offset == at + (1 << 16)
    assert scanner.feed(1 << 20, b"\x1b]133;" * 10_000 + osc(b"133;A", 1))[-1].number == 1


async def test_what_is_known_outlives_the_daemon() -> None:
    log = Transcript(Ring.anonymous(1 << 16))
    commands = CommandLog(log, "secret")
    log.append(one_command(1, b"first", b"one\r\n", 0) + osc(b"133;A", 2) + osc(b"133;B", 2))
    commands.catch_up()
    assert commands.at_prompt
    saved = commands.saved()
    assert saved is not None
    log.append(osc(b"633;E;second", 2) + osc(b"133;C", 2) + b"two\r\n" + osc(b"133;D;4", 2))
    again = CommandLog(log, None, saved)
    again.catch_up()
    assert (again.shown_offset, again.echo_offset, again.cwd) == (commands.shown_offset, commands.echo_offset, "/d")
    assert [(one.number, one.command, one.exit_code) for one in again.history] == [(1, "first", 0), (2, "second", 4)]
    await trio.lowlevel.checkpoint()


async def test_without_a_nonce_nothing_is_read() -> None:
    log = Transcript(Ring.anonymous(1 << 16))
    commands = CommandLog(log)
    log.append(osc(b"133;A") + osc(b"133;C"))
    commands.catch_up()
    assert (commands.state, commands.floor(), list(commands.history)) == ("off", None, [])
    await trio.lowlevel.checkpoint()
