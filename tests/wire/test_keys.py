"""Keys as terminals send them, by mode; names as people write them; pastes that stay pastes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.errors import InvalidParams
from ptybridge.wire.keynames import NAMES
from ptybridge.wire.keys import KeyModes, encode_key, encode_paste

NORMAL = KeyModes()
APPLICATION = KeyModes(application_cursor=True, application_keypad=True)
KITTY = KeyModes(kitty_flags=1)
ALL_KEYS = KeyModes(kitty_flags=1 | 8)
WITH_TEXT = KeyModes(kitty_flags=1 | 2 | 4 | 8 | 16)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("a", b"a"), ("A", b"A"), ("é", "é".encode()), ("漢", "漢".encode()), ("👩‍🚀", "👩‍🚀".encode()),
        ("-", b"-"), ("+", b"+"), ("^", b"^"), (" ", b" "), ("space", b" "), ("enter", b"\r"),
        ("Return", b"\r"), ("tab", b"\t"), ("esc", b"\x1b"), ("e\u0301", "e\u0301".encode()),
        ("Escape", b"\x1b"), ("backspace", b"\x7f"), ("BSpace", b"\x7f"), ("delete", b"\x1b[3~"),
        ("DC", b"\x1b[3~"), ("up", b"\x1b[A"), ("Down", b"\x1b[B"), ("RIGHT", b"\x1b[C"),
        ("left", b"\x1b[D"), ("home", b"\x1b[H"), ("end", b"\x1b[F"), ("insert", b"\x1b[2~"),
        ("pageup", b"\x1b[5~"), ("page-down", b"\x1b[6~"), ("PgUp", b"\x1b[5~"), ("page_up", b"\x1b[5~"),
        ("f1", b"\x1bOP"), ("F4", b"\x1bOS"), ("f5", b"\x1b[15~"), ("f12", b"\x1b[24~"),
        ("f13", b"\x1b[25~"), ("f20", b"\x1b[34~"), ("kp5", b"5"), ("KPEnter", b"\r"), ("kp+", b"+"),
        ("kp-", b"-"), ("ctrl-c", b"\x03"), ("C-c", b"\x03"), ("ctrl+C", b"\x03"), ("^C", b"\x03"),
        ("Control-c", b"\x03"), ("c-c", b"\x03"), ("ctrl-shift-c", b"\x03"), ("ctrl-space", b"\0"),
        ("C-@", b"\0"), ("ctrl-[", b"\x1b"), ("ctrl-\\", b"\x1c"), ("ctrl-]", b"\x1d"), ("ctrl-^", b"\x1e"),
        ("ctrl-_", b"\x1f"), ("ctrl-/", b"\x1f"), ("ctrl-?", b"\x7f"), ("ctrl--", b"-"), ("ctrl-1", b"1"),
        ("ctrl-é", "é".encode()), ("alt-x", b"\x1bx"), ("M-x", b"\x1bx"), ("alt-X", b"\x1bX"),
        ("alt-shift-x", b"\x1bX"), ("meta-é", "\x1bé".encode()), ("alt-enter", b"\x1b\r"),
        ("alt-esc", b"\x1b\x1b"), ("alt-backspace", b"\x1b\x7f"), ("ctrl-alt-a", b"\x1b\x01"),
        ("ctrl-backspace", b"\x08"), ("ctrl-enter", b"\r"), ("shift-enter", b"\r"), ("alt--", b"\x1b-"),
        ("shift-tab", b"\x1b[Z"), ("S-Tab", b"\x1b[Z"), ("BTab", b"\x1b[Z"),
        ("alt-shift-tab", b"\x1b\x1b[Z"), ("shift-a", b"A"), ("ctrl-up", b"\x1b[1;5A"),
        ("ctrl-alt-left", b"\x1b[1;7D"), ("shift-f5", b"\x1b[15;2~"), ("shift-f3", b"\x1b[1;2R"),
        ("ctrl-delete", b"\x1b[3;5~"), ("M-PageUp", b"\x1b[5;3~"), ("ctrl-shift-end", b"\x1b[1;6F"),
        ("f21", b"\x1b[57384u"),
    ],
)  # fmt: skip
def test_legacy_encoding(name: str, sent: bytes) -> None:
    assert encode_key(name, NORMAL) == sent


@pytest.mark.parametrize(
    ("name", "sent"),
    [("up", b"\x1bOA"), ("home", b"\x1bOH"), ("ctrl-up", b"\x1b[1;5A"), ("delete", b"\x1b[3~"), ("kp0", b"\x1bOp"),
     ("kp9", b"\x1bOy"), ("kpenter", b"\x1bOM"), ("kp.", b"\x1bOn"), ("kp/", b"\x1bOo"), ("5", b"5")],
)  # fmt: skip
def test_application_modes(name: str, sent: bytes) -> None:
    assert encode_key(name, APPLICATION) == sent


def test_newline_mode() -> None:
    assert encode_key("enter", KeyModes(newline_mode=True)) == b"\r\n"
    assert encode_key("ctrl-m", KeyModes(newline_mode=True)) == b"\r"


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("a", b"a"), ("shift-a", b"A"), ("é", "é".encode()), ("space", b" "), ("kp5", b"5"),
        ("enter", b"\r"), ("tab", b"\t"), ("backspace", b"\x7f"), ("esc", b"\x1b[27u"),
        ("alt-esc", b"\x1b[27;3u"), ("shift-enter", b"\x1b[13;2u"), ("shift-tab", b"\x1b[9;2u"),
        ("ctrl-backspace", b"\x1b[127;5u"), ("ctrl-c", b"\x1b[99;5u"), ("ctrl-shift-c", b"\x1b[99;6u"),
        ("alt-x", b"\x1b[120;3u"), ("alt-X", b"\x1b[120;4u"), ("ctrl-space", b"\x1b[32;5u"),
        ("ctrl-[", b"\x1b[91;5u"), ("ctrl-i", b"\x1b[105;5u"), ("super-k", b"\x1b[107;9u"),
        ("up", b"\x1b[A"), ("ctrl-up", b"\x1b[1;5A"), ("f1", b"\x1b[P"), ("f3", b"\x1b[13~"),
        ("shift-f3", b"\x1b[13;2~"), ("f5", b"\x1b[15~"), ("f13", b"\x1b[57376u"),
        ("kpenter", b"\x1b[57414u"), ("ctrl-kp0", b"\x1b[57399;5u"),
    ],
)  # fmt: skip
def test_kitty_disambiguation(name: str, sent: bytes) -> None:
    assert encode_key(name, KITTY) == sent
    assert encode_key(name, KeyModes(kitty_flags=1, application_cursor=True)) == sent


@pytest.mark.parametrize(
    ("name", "plain", "with_text"),
    [
        ("a", b"\x1b[97u", b"\x1b[97;;97u"),
        ("A", b"\x1b[97;2u", b"\x1b[97:65;2;65u"),
        ("ctrl-shift-a", b"\x1b[97;6u", b"\x1b[97:65;6u"),
        ("enter", b"\x1b[13u", b"\x1b[13u"),
        ("space", b"\x1b[32u", b"\x1b[32;;32u"),
        ("kp1", b"\x1b[57400u", b"\x1b[57400;;49u"),
        ("👩‍🚀", "👩‍🚀".encode(), "👩‍🚀".encode()),
        ("ß", b"\x1b[223u", b"\x1b[223;;223u"),
    ],
)
def test_kitty_all_keys_as_escape_codes(name: str, plain: bytes, with_text: bytes) -> None:
    assert encode_key(name, ALL_KEYS) == plain
    assert encode_key(name, WITH_TEXT) == with_text


@pytest.mark.parametrize("modes", [NORMAL, APPLICATION, KITTY, ALL_KEYS, WITH_TEXT])
def test_every_name_is_a_key_with_every_modifier(modes: KeyModes) -> None:
    for name in NAMES:
        for modifiers in ("", "ctrl-", "alt-", "shift-", "ctrl-alt-shift-"):
            assert encode_key(modifiers + name, modes)


@given(st.characters(exclude_categories=["Cs"]), st.sampled_from([NORMAL, KITTY, WITH_TEXT]))
def test_every_character_is_a_key(char: str, modes: KeyModes) -> None:
    assert encode_key(char, modes)
    assert encode_key("C-M-S-" + char, modes)


@pytest.mark.parametrize(
    ("name", "near"),
    [("pgupp", "pgup"), ("entr", "enter"), ("ctrl-bakspace", "backspace"), ("f25", "f2"), ("", "enter"),
     ("hello", "session.write"), ("ctrl-", "ctrl"), ("ab", "session.write"), ("\ud800", "enter")],
)  # fmt: skip
def test_unknown_key_names_what_is_near(name: str, near: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        encode_key(name, NORMAL)
    assert near in (caught.value.hint or "")


def test_super_needs_the_protocol_that_has_it() -> None:
    with pytest.raises(InvalidParams):
        encode_key("super-a", NORMAL)


@given(st.text(max_size=8))
def test_no_name_whatever_raises_anything_else(name: str) -> None:
    try:
        encode_key(name, WITH_TEXT)
    except InvalidParams:
        pass


BRACKETED = KeyModes(bracketed_paste=True)


def test_paste() -> None:
    assert encode_paste(b"a\r\nb\nc\rd", NORMAL) == b"a\rb\rc\rd"
    assert encode_paste(b"a\nb\x1b[1m", BRACKETED) == b"\x1b[200~a\nb\x1b[1m\x1b[201~"
    assert encode_paste(b"a\x1b[201~rm", BRACKETED) == "\x1b[200~a␛[201~rm\x1b[201~".encode()


@given(st.lists(st.sampled_from([b"\x1b", b"[", b"2", b"01~", b"201~", b"\xc2\x9b", b"\x1b[20", b"1~", b"x"])))
def test_paste_cannot_end_early(parts: list[bytes]) -> None:
    inner = encode_paste(b"".join(parts), BRACKETED).removeprefix(b"\x1b[200~").removesuffix(b"\x1b[201~")
    assert b"\x1b[201~" not in inner
    assert b"\xc2\x9b201~" not in inner
