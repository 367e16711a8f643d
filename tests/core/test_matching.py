"""Patterns over a growing log: found at every cut, earliest first, at the right raw offsets, in linear time."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.core import matching
from ptybridge.core.matching import Match, compile_patterns
from ptybridge.errors import InvalidParams


def feed(matcher: matching.Matcher, data: bytes, sizes: list[int], offset: int = 0) -> Match | None:
    """Feed `data` in pieces of these sizes, the rest at once; return the first match."""
    start = 0
    for size in [*sizes, len(data)]:
        match = matcher.feed(offset + start, data[start : start + size])
        if match is not None:
            return match
        start = min(start + size, len(data))
    return None


@given(
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=4),
    st.text("abc", max_size=30).map(str.encode),
)
def test_literals_agree_with_a_search_byte_by_byte(needles: list[str], data: bytes) -> None:
    match = feed(compile_patterns(needles), data, [1] * len(data), offset=1000)
    for end in range(len(data) + 1):
        hits = [
            (end - len(needle), index) for index, needle in enumerate(needles) if data[:end].endswith(needle.encode())
        ]
        if hits:
            start, index = min(hits)
            text = needles[index].encode()
            assert match == Match(index, needles[index], 1000 + start, 1000 + end, text)
            return
    assert match is None


@given(
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=4),
    st.text("abc", max_size=30).map(str.encode),
)
def test_literals_at_once_give_the_earliest_start_then_list_order(needles: list[str], data: bytes) -> None:
    match = compile_patterns(needles).feed(0, data)
    hits = [(data.find(needle.encode()), index) for index, needle in enumerate(needles) if needle.encode() in data]
    assert (match and (match.start_offset, match.index)) == (min(hits) if hits else None)


@given(st.lists(st.sampled_from(["a+b", "b$", "^c", "(a)|(b)c", "ca?", r"\bab"]), min_size=1, max_size=3),
       st.text("abc\n", max_size=20).map(str.encode))  # fmt: skip
def test_expressions_at_once_agree_with_re(patterns: list[str], data: bytes) -> None:
    match = compile_patterns(patterns, regex=True).feed(7, data)
    # Python's `$` with MULTILINE is the same.
    hits = [
        (found.start(), index, found)
        for index, pattern in enumerate(patterns)
        if (found := re.search(pattern.encode(), data, re.MULTILINE))
    ]
    if not hits:
        assert match is None
        return
    start, index, found = min(hits, key=lambda hit: hit[:2])
    assert match == Match(index, patterns[index], 7 + start, 7 + found.end(), found[0], found.groups())


@given(st.text("ab\n", max_size=20).map(str.encode), st.lists(st.integers(0, 5)))
def test_expressions_are_found_at_every_cut(data: bytes, sizes: list[int]) -> None:
    match = feed(compile_patterns("^ab+\n", regex=True), data, sizes)
    found = re.search(rb"^ab+\n", data, re.MULTILINE)
    assert (match and (match.start_offset, match.end_offset)) == (found and found.span())


PROMPT = b"\x1b[?2004h\x1b]0;host\x07\x1b[32muser\x1b[0m:~\x1b(B$\x1b[m \x1b[K"


@given(st.lists(st.integers(1, 7)))
def test_plain_matches_through_escapes_and_reports_raw_offsets(sizes: list[int]) -> None:
    data = b"ls\r\n" + PROMPT
    for regex, pattern in ((False, "user:~$"), (True, r"^user:~\$")):
        match = feed(compile_patterns(pattern, regex=regex, plain=True), data, sizes, offset=500)
        assert match is not None
        assert match.text == b"user:~$"
        assert match.start_offset == 500 + data.index(b"user")
        assert match.end_offset == 500 + data.index(b"$") + 1


def test_raw_sees_the_escapes() -> None:
    assert compile_patterns("user:~").feed(0, PROMPT) is None
    assert compile_patterns("\x1b[32muser").feed(0, PROMPT) is not None


def test_plain_ends_lines_in_a_line_feed() -> None:
    match = compile_patterns("^done$", regex=True, plain=True).feed(0, b"x\r\ndone\r\ny")
    assert match is not None
    assert (match.start_offset, match.end_offset) == (3, 7)
    assert compile_patterns("^done$", regex=True).feed(0, b"x\r\ndone\r\ny") is None


def test_dollar_matches_the_end_of_what_has_come() -> None:
    matcher = compile_patterns(r"\$ $", regex=True)
    assert matcher.feed(0, b"echo $ x\r\n") is None
    assert matcher.feed(10, b"user$") is None
    match = matcher.feed(15, b" ")
    assert match is not None
    assert (match.start_offset, match.end_offset) == (14, 16)


def test_beginning_of_text_is_where_watching_began() -> None:
    matcher = compile_patterns(r"\Ab", regex=True)
    assert matcher.feed(0, b"a" * 100_000) is None
    assert matcher.feed(100_000, b"b") is None
    assert matcher.feed(200_000, b"b") is not None


@pytest.mark.parametrize("pattern", ["^b", r"\bb"])
def test_window_remembers_what_stands_before_it(pattern: str) -> None:
    matcher = compile_patterns(pattern, regex=True)
    assert matcher.feed(0, b"a" * (matching.WINDOW_BYTES + 1)) is None
    assert matcher.feed(matching.WINDOW_BYTES + 1, b"b") is None


def test_match_may_be_as_long_as_the_window() -> None:
    matcher = compile_patterns("(?s)BEGIN.*END", regex=True)
    data = b"x" * 100_000 + b"BEGIN" + b"y" * (matching.WINDOW_BYTES - 10)
    assert feed(matcher, data, [1000] * 200) is None
    match = matcher.feed(len(data), b"END")
    assert match is not None
    assert (match.start_offset, match.end_offset) == (100_000, len(data) + 3)


def test_lost_output_does_not_join_what_surrounds_it() -> None:
    matcher = compile_patterns("ab")
    assert matcher.feed(0, b"xa") is None
    assert matcher.feed(10, b"b") is None
    match = matcher.feed(11, b"ab")
    assert match is not None
    assert match.start_offset == 11


def test_matcher_starts_anew_after_a_match() -> None:
    matcher = compile_patterns("ab")
    first = matcher.feed(0, b"abab")
    assert first is not None
    second = matcher.feed(first.end_offset, b"ab")
    assert second is not None
    assert second.start_offset == 2


def test_groups_and_names() -> None:
    match = compile_patterns([r"(?P<n>\d+) (x)?", r"(?P<n>z)"], regex=True).feed(0, b"a 12 z")
    assert match is not None
    assert match.groups == (b"12", None)


def test_open_quote_does_not_swallow_the_other_patterns() -> None:
    match = compile_patterns([r"\Qa.b", "c"], regex=True).feed(0, b"xc")
    assert match is not None
    assert match.index == 1
    assert compile_patterns([r"\Qa.b", "c"], regex=True).feed(0, b"a.b") is not None


def test_flags_stay_within_their_pattern() -> None:
    assert compile_patterns(["(?i)a", "b"], regex=True).feed(0, b"B") is None


def test_characters_are_utf8() -> None:
    match = compile_patterns("^.[é]$", regex=True).feed(0, "漢é".encode())
    assert match is not None
    assert match.text == "漢é".encode()
    assert compile_patterns("é").feed(0, "xé".encode()) is not None


def test_empty_match_is_at_the_place_reached() -> None:
    match = compile_patterns("x*", regex=True).feed(5, b"")
    assert match is not None
    assert (match.start_offset, match.end_offset) == (5, 5)


@pytest.mark.parametrize(
    ("pattern", "reason", "position"),
    [
        ("ab[z-a]", "invalid character class range", 3),
        ("é(?=b)", "invalid perl operator", 1),
        ("(a", "missing )", 0),
        (r"(a)\1", "invalid escape sequence", 3),
        ("a{1001}", "invalid repetition size", 1),
        ("((a{100}){100}){100}", "", 0),
        ("a\\", "trailing", 0),
    ],
)
def test_bad_expressions_say_why_and_where(pattern: str, reason: str, position: int) -> None:
    with pytest.raises(InvalidParams) as caught:
        compile_patterns(["good", pattern], regex=True)
    assert reason in caught.value.message
    if reason:
        assert caught.value.data["position"] == position


@pytest.mark.parametrize("patterns", [[], "", ["a", ""], ["a"] * 101, "a" * 20_000, "\ud800"])
def test_other_bad_patterns_are_refused(patterns: str | list[str]) -> None:
    for regex in (False, True):
        with pytest.raises(InvalidParams):
            compile_patterns(patterns, regex=regex)


@pytest.mark.parametrize("pattern", ["(a+)+$x", "(a|a)*b", "(a*)*c", "(.*a){20}b", "(?s).*z"])
def test_no_pattern_takes_more_than_linear_time(pattern: str) -> None:
    matcher = compile_patterns(pattern, regex=True)
    begin = time.process_time()
    for number in range(100):
        assert matcher.feed(number * 10_000, b"a" * 10_000) is None
    assert time.process_time() - begin < 5


def test_many_small_chunks_without_a_match_stay_cheap() -> None:
    for matcher in (compile_patterns("x" * 1000), compile_patterns("needle", plain=True)):
        begin = time.process_time()
        for number in range(50_000):
            matcher.feed(number * 5, b"\x1b[1mx")
        assert time.process_time() - begin < 5
