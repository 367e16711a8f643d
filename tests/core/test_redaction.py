"""Secrets do not get through, however a terminal or a read has broken them up; everything else does, byte by byte."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.core import redaction
from ptybridge.core.redaction import MARK, MAX_HELD_BYTES, Redactor, Secrets, edges, marked, redact, scan, usable

KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\r\n" + b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmU\r\n" * 30
KEY_END = b"-----END OPENSSH PRIVATE KEY-----"
noise = st.sampled_from([b"\x1b[31m", b"\x1b[0m", b"\r\n", b" \r", b"\r", b"\x1b]0;title\x07", b"\x1b(B", b"\x00"])


def secrets_of(*values: bytes) -> Secrets:
    secrets = Secrets()
    for value in values:
        assert secrets.add("one", value)
    return secrets


def in_pieces(data: bytes, secrets: Secrets, size: int) -> bytes:
    redactor = Redactor(secrets)
    return b"".join(redactor.feed(data[at : at + size]) for at in range(0, len(data), size)) + redactor.finish()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (b"it is hunter2!", b"it is [redacted]!"),
        (b"h\x1b[31mun\r\nter\x1b]0;t\x072.", b"[redacted]."),
        (b"hunte hunter", b"hunte hunter"),
        (b"hunhunter2ter2", b"hun[redacted]ter2"),
        ("pass: k\u00f6nig\u20acx ok".encode(), b"pass: [redacted] ok"),
        (b"\x1b]0;my hunter2 title\x07", b"\x1b]0;my [redacted] title\x07"),
    ],
)
def test_s32_known_values_are_redacted_when_split_over_reads_characters_and_escapes(
    raw: bytes, clean: bytes, size: int
) -> None:
    assert in_pieces(raw, secrets_of(b"hunter2", "k\u00f6nig\u20acx".encode()), size) == clean


@given(st.lists(noise, max_size=6), st.integers(1, 9), st.data())
def test_s32_noise_between_any_characters_hides_nothing(between: list[bytes], size: int, data: st.DataObject) -> None:
    value = b"Tr0ub4dor&3"
    raw = bytearray(value)
    for one in between:
        at = data.draw(st.integers(1, len(raw) - 1))
        if raw[at - 1 : at + 1].isalnum() or raw[at] == ord("&"):  # not within another sequence
            raw[at:at] = one
    whole = b"<" + bytes(raw) + b">"
    if redact(whole, (value,)) == b"<" + MARK + b">":
        assert in_pieces(whole, secrets_of(value), size) == b"<" + MARK + b">"
    else:  # a sequence was put where it changes another
        assert value not in in_pieces(whole, secrets_of(value), size)


def naive(data: bytes, values: list[bytes]) -> bytes:
    """Mark every byte that belongs to an occurrence; touching occurrences get a mark each, overlapping ones share."""
    spans = sorted((at, at + len(value)) for value in values for at in range(len(data)) if data.startswith(value, at))
    out, done = b"", 0
    for at, (first, last) in enumerate(spans):
        if first < done:
            done = max(done, last)
            continue
        out += data[done:first] + MARK
        done = last
        del at
    return out + data[done:]


@given(
    st.lists(st.sampled_from([b"a", b"b", b"ab", b"abab", b"babb"]), max_size=40),
    st.lists(st.sampled_from([b"abab", b"aaaa", b"babba", b"abba"]), min_size=1, max_size=3, unique=True),
    st.integers(1, 11),
)
def test_the_stream_equals_a_naive_model(pieces: list[bytes], values: list[bytes], size: int) -> None:
    data = b"".join(pieces)
    expected = naive(data, values)
    assert redact(data, values) == expected
    streamed = in_pieces(data, secrets_of(*values), size)
    assert not any(value in streamed for value in values)
    assert streamed == expected


@given(st.binary(max_size=300), st.integers(1, 50))
def test_what_holds_no_secret_comes_through_unchanged(data: bytes, size: int) -> None:
    if not scan(data, (b"hunter2",)).spans:
        assert in_pieces(data, secrets_of(b"hunter2"), size) == data


@pytest.mark.parametrize("size", [1, 5, 64, 10_000])
@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (b"key AKIAIOSFODNN7EXAMPLE.", b"key [redacted]."),
        (b"ghp_" + b"a1B2" * 9 + b" x", b"[redacted] x"),
        (b"ptb_" + b"A-_z" * 10 + b"abc\r\n", b"[redacted]\r\n"),
        (b"/login#ptc_" + b"A-_z" * 10 + b"abc", b"/login#[redacted]"),
        (b"cookie: ptybridge-7373=ptl_" + b"Ab1z" * 10 + b"abc;", b"cookie: ptybridge-7373=[redacted];"),
        (b"ticket.ptt_" + b"Ab1z" * 10 + b"abc", b"ticket.[redacted]"),
        (b"github_pat_" + b"a1B2_" * 9 + b"\r\n", b"[redacted]\r\n"),
        (b"Authorization: Bearer abc.def-ghi_jkl\r\n", b"Authorization: Bearer [redacted]\r\n"),
        (b"git clone https://me:s3cr3t@host/x.git", b"git clone https://me:[redacted]@host/x.git"),
        (b"DB_PASSWORD=swordfish next", b"DB_PASSWORD=[redacted] next"),
        (b'{"api_key": "abcd efgh", "n": 1}', b'{"api_key": "[redacted]", "n": 1}'),
        (b"password\x1b[0m: \x1b[32mswordfish\x1b[0m ok", b"password\x1b[0m: \x1b[32m[redacted]\x1b[0m ok"),
        (b"before\r\n" + KEY + KEY_END + b"\r\nafter", b"before\r\n[redacted]\r\nafter"),
        (b"cut off " + KEY, b"cut off [redacted]"),
    ],
)
def test_s32_credentials_are_known_by_their_form(raw: bytes, clean: bytes, size: int) -> None:
    streamed = in_pieces(raw, Secrets(), size)
    # Of single bytes the first ones, which all such tokens have in common, are out before they are recognised.
    assert re.sub(rb"(AK?I?|ghp|pt[blct]?|github_pat)(?=\[)", b"", streamed) == clean


@pytest.mark.parametrize(
    "raw",
    [
        b"Password: \r\nlogin ok\r\n",
        b"password=$PASSWORD and token=<token>",
        b"password: ********",
        b"token = secrets.token_hex(8)",
        b"the password is not here",
        b'printf "Password: "; read p; echo "got $p"',
        b"http://host:8080/path",
        b"AKIA is short, ghp_ too",
    ],
)
def test_what_only_looks_alike_is_left_alone(raw: bytes) -> None:
    assert in_pieces(raw, Secrets(), 3) == raw


def test_a_prompt_is_not_held_back() -> None:
    redactor = Redactor(secrets_of(b"hunter2"))
    assert redactor.feed(b"Answer: ") == b"Answer: "
    assert redactor.pending_bytes == 0
    assert redactor.feed(b"hunt") == b""
    assert redactor.pending_bytes == 4
    assert redactor.feed(b"ing") == b"hunting"


def test_what_is_held_back_is_bounded() -> None:
    redactor = Redactor(secrets_of(b"hunter2"))
    for _ in range(2000):
        redactor.feed(b"\x1b[31m" * 20)
        redactor.feed(b"h" if _ == 0 else b"")
        assert redactor.pending_bytes <= MAX_HELD_BYTES


def test_a_redactor_can_go_on_where_another_left_off() -> None:
    first = Redactor(secrets_of(b"hunter2"))
    out = first.feed(b"x " + KEY[:300])
    second = Redactor(secrets_of(b"hunter2"))
    second.prime(b"x " + KEY[:300])
    assert out + second.feed(KEY[300:] + KEY_END + b" and hunter2.") == b"x [redacted] and [redacted]."


def test_secrets_are_forgotten_with_their_session() -> None:
    secrets = Secrets()
    assert not secrets.add("one", b"abc")  # three characters occur everywhere
    assert secrets.add("one", b"hunter2\n")
    assert secrets.add("two", b"swordfish")
    assert set(secrets.values) == {b"hunter2", b"swordfish"}
    secrets.forget("one")
    assert secrets.values == (b"swordfish",)
    assert not usable(b"x" * 5000)


@given(st.text(alphabet="ab \r\n\x00", max_size=40))
def test_the_fast_way_to_leave_out_noise_equals_the_other(text: str) -> None:
    data = text.encode()
    assert redaction._without_noise(data) == redaction._NOISE.sub(b"", data)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (b"nter2 and hunt", b"[redacted] and [redacted]"),
        (b"\x1b[1mnter2\x1b[0m", b"\x1b[1m[redacted]\x1b[0m"),
        (b"5mnter2", b"5m[redacted]"),
        (b"er2 and hun", b"er2 and hun"),
        (b"h\x1b[31mun\r\nt\x1b[0m", b"[redacted]\x1b[0m"),
        (b"hunter2", b"hunter2"),
        (b"", b""),
    ],
)
def test_what_a_limit_has_left_of_a_value_is_found_at_the_edges(text: bytes, clean: bytes) -> None:
    """The whole value is `scan`'s business."""
    assert marked(text, edges(text, [b"hunter2"]), 0, len(text)) == clean


def test_a_stream_somebody_waits_for_holds_back_only_what_is_long_enough() -> None:
    redactor = Redactor(secrets_of(b"hunter2"), forms=False)
    given = [redactor.feed(bytes([one])) for one in b"hunt it, token=abcdefgh, hunter2!"]
    assert b"".join(given) == b"hunt it, token=abcdefgh, hun[redacted]!"
    assert redactor.feed(b" hun") == b" hun"
    assert redactor.finish() == b""
