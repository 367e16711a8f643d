"""The attach client's keys are found at every cut and in every encoding; all else goes out unchanged, in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.errors import InvalidParams
from ptybridge.wire.detach import MAX_HELD_BYTES, Action, DetachScanner, parse_prefix

PASTE = b"\x1b[200~a\x1cd\x1b[92;5ud\x1b[201~"
PIECES = [b"a", b"d", b"\x1b", b"\x1b[A", b"\x1b[", b"92;5u", b"\x1b[92;5:3u", b"\x1b[200~", b"\x1b[201~", b"1~",
          b"\x1b[<0;1;1M", b"\x1b[I", b"\x1b]11;x\x07", "é".encode(), b"\x1b[M !!", b"\x1b[97u", b"\r"]  # fmt: skip


def scan(data: bytes, sizes: list[int], prefix: bytes = b"\x1c") -> tuple[bytes, list[Action]]:
    """Feed `data` in pieces of these sizes, the rest at once; return all that is forwarded, and the actions."""
    scanner = DetachScanner(prefix)
    out, actions = b"", []
    start = 0
    for size in [*sizes, len(data)]:
        forwarded, found = scanner.feed(data[start : start + size])
        out += forwarded
        actions += found
        start = min(start + size, len(data))
    return out + scanner.flush(final=True), actions


@pytest.mark.parametrize(
    "prefix",
    [
        b"\x1c",
        b"\x1b[92;5u",
        b"\x1b[92;5:1u",
        b"\x1b[92:124;5u",
        b"\x1b[92;133u",
        b"\x1b[1078::92;5u",
        b"\x1b[27;5;92~",
    ],
)
@pytest.mark.parametrize(
    ("key", "action"),
    [
        (b"d", "detach"), (b"D", "detach"), (b"\x1b[100u", "detach"), (b"\x1b[100;;100u", "detach"),
        (b"\x1b[100;1:1u", "detach"), (b"\x1b[1074::100u", "detach"), (b"z", "suspend"), (b"\x1a", "suspend"),
        (b"\x1b[122;5u", "suspend"), (b"r", "redraw"), (b"\x1b[114u", "redraw"),
        (b"?", "help"), (b"\x1b[47:63;2u", "help"), (b"\x1b[47;2u", "help"),
    ],
)  # fmt: skip
def test_action_is_found_at_every_cut(prefix: bytes, key: bytes, action: Action) -> None:
    data = b"x" + prefix + key + b"y"
    for cut in range(len(data) + 1):
        assert scan(data, [cut]) == (b"xy", [action])
    assert scan(data, [1] * len(data)) == (b"xy", [action])


def test_prefix_twice_sends_it_once() -> None:
    assert scan(b"\x1c\x1cd", []) == (b"\x1cd", ["literal"])
    assert scan(b"\x1c\\d", []) == (b"\x1cd", ["literal"])
    assert scan(b"\x1b[92;5u\x1b[92;5ud", []) == (b"\x1b[92;5ud", ["literal"])
    assert scan(b"\x1c\x1c\x1cd", [1, 1, 1]) == (b"\x1c", ["literal", "detach"])


def test_releases_modifiers_mouse_and_focus_do_not_come_between_prefix_and_key() -> None:
    between = b"\x1b[92;5:3u\x1b[57442;1:3u\x1b[<35;10;10M\x1b[M !!\x1b[I\x1b[?1u"
    for cut in range(len(between)):
        assert scan(b"\x1c" + between + b"dx", [cut]) == (between + b"x", ["detach"])
    assert scan(b"\x1c" + between + b"kx", []) == (b"\x1c" + between + b"kx", [])


@pytest.mark.parametrize(
    "key", [b"k", b"\r", b"\x1b[A", b"\x1bOA", b"\x1bd", b"\x1b[100;3u", b"\x1b", "é".encode(), PASTE]
)
def test_prefix_with_another_key_goes_through(key: bytes) -> None:
    assert scan(b"a\x1c" + key + b"d", []) == (b"a\x1c" + key + b"d", [])
    data = b"\x1c" + key + b"d"
    assert scan(data, [1] * len(data)) == (data, [])


def test_prefix_in_a_paste_is_text_at_every_cut() -> None:
    data = PASTE + b"\x1cd"
    for cut in range(len(data) + 1):
        assert scan(data, [cut]) == (PASTE, ["detach"])
    assert scan(data, [1] * len(data)) == (PASTE, ["detach"])


def test_paste_is_recognised_even_when_its_mark_was_flushed() -> None:
    for cut in range(1, 6):
        scanner = DetachScanner()
        assert scanner.feed(PASTE[:cut]) == (b"", [])
        assert scanner.flush() == PASTE[:cut]
        assert scanner.feed(PASTE[cut:]) == (PASTE[cut:], [])
        assert scanner.feed(b"\x1cd") == (b"", ["detach"])


def test_escape_is_held_until_flush() -> None:
    scanner = DetachScanner()
    assert scanner.feed(b"\x1b") == (b"", [])
    assert scanner.pending
    assert scanner.flush() == b"\x1b"
    assert scanner.flush() == b""


def test_prefix_waits_for_a_key_however_long() -> None:
    scanner = DetachScanner()
    assert scanner.feed(b"\x1c") == (b"", [])
    assert not scanner.pending
    assert scanner.flush() == b""
    assert scanner.feed(b"\x1b") == (b"", [])
    assert scanner.flush() == b"\x1c\x1b"
    assert scanner.feed(b"d") == (b"d", [])


def test_held_bytes_are_bounded() -> None:
    scanner = DetachScanner()
    report = b"\x1b[<35;10;10M"
    data = b"\x1c" + report * (MAX_HELD_BYTES // len(report) + 1)
    assert scanner.feed(data) == (data, [])


@given(st.lists(st.sampled_from(PIECES)).map(b"".join), st.lists(st.integers(0, 9)))
def test_nothing_else_is_swallowed_or_reordered(data: bytes, sizes: list[int]) -> None:
    if b"\x1b[92;5u" not in data:
        assert scan(data, sizes) == (data, [])


@given(st.lists(st.sampled_from([*PIECES, b"\x1c"])).map(b"".join), st.lists(st.integers(0, 9)))
def test_no_cut_changes_the_outcome(data: bytes, sizes: list[int]) -> None:
    assert scan(data, sizes) == scan(data, [])


@given(st.lists(st.tuples(st.sampled_from([*PIECES, b"\x1c"]), st.booleans())))
def test_flushing_at_any_time_loses_nothing(parts: list[tuple[bytes, bool]]) -> None:
    scanner = DetachScanner()
    out, actions = b"", []
    for piece, flushes in parts:
        forwarded, found = scanner.feed(piece)
        out += forwarded + (scanner.flush() if flushes else b"")
        actions += found
    out += scanner.flush(final=True)
    whole = b"".join(piece for piece, _ in parts)
    if actions:
        rest = iter(whole)
        assert all(byte in rest for byte in out)
    else:
        assert out == whole


@pytest.mark.parametrize(
    ("name", "prefix", "kitty"),
    [("ctrl-\\", b"\x1c", b"\x1b[92;5u"), ("C-a", b"\x01", b"\x1b[97;5u"), ("^B", b"\x02", b"\x1b[98;5u"),
     ("ctrl-space", b"\x00", b"\x1b[32;5u"), ("ctrl-]", b"\x1d", b"\x1b[93;5u"), ("ctrl-^", b"\x1e", b"\x1b[54;6u"),
     ("ctrl-/", b"\x1f", b"\x1b[47;5u")],
)  # fmt: skip
def test_prefix_by_name(name: str, prefix: bytes, kitty: bytes) -> None:
    assert parse_prefix(name) == prefix
    assert scan(prefix + b"d", [], prefix) == (b"", ["detach"])
    assert scan(kitty + b"d", [], prefix) == (b"", ["detach"])
    assert scan(b"\x1c\x1cd", [], b"\x01") == (b"\x1c\x1cd", [])


def test_letter_with_shift_is_another_key() -> None:
    assert scan(b"\x1b[97;6ud", [], b"\x01") == (b"\x1b[97;6ud", [])


def test_no_prefix_forwards_everything_at_once() -> None:
    assert parse_prefix("none") == b""
    assert DetachScanner(b"").feed(b"\x1c\x1b") == (b"\x1c\x1b", [])


@pytest.mark.parametrize(
    "name", ["a", "ctrl-m", "ctrl-i", "ctrl-j", "ctrl-[", "alt-x", "f5", "ctrl-up", "nonsense", ""]
)
def test_other_keys_cannot_be_the_prefix(name: str) -> None:
    with pytest.raises(InvalidParams):
        parse_prefix(name)
