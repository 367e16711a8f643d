from hypothesis import given
from hypothesis import strategies as st

from ptybridge.backends.tmux_protocol import Event, Notice, Output, Parser, Reply, quote, send_keys


def escape(data: bytes) -> bytes:
    """As tmux's control_append_data does."""
    return b"".join(b"\\%03o" % byte if byte < 32 or byte == 92 else bytes([byte]) for byte in data)


@given(st.lists(st.binary(min_size=1), max_size=8), st.lists(st.integers(1, 40), max_size=60))
def test_output_is_byte_exact_however_it_is_cut(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(b"%%output %%%d %b\n" % (number, escape(piece)) for number, piece in enumerate(pieces))
    parser, events = Parser(), list[Event]()
    for size in cuts:
        events += parser.feed(stream[:size])
        stream = stream[size:]
    events += parser.feed(stream)
    assert events == [Output(f"%{number}", piece) for number, piece in enumerate(pieces)]


def test_answers_are_ours_only_with_flag_1_and_end_with_their_own_number() -> None:
    stream = b"%begin 1 10 0\nignored\n%end 1 10 0\n%begin 2 11 1\n%output %1 not output\n%end 9 9 1\n%end 2 11 1\n"
    stream += b"%begin 2 12 1\nno such pane\n%error 2 12 1\n%window-close @3\n%exit\n"
    assert Parser().feed(stream) == [
        Reply([b"%output %1 not output", b"%end 9 9 1"]),
        Reply([b"no such pane"], failed=True),
        Notice("window-close", "@3"),
        Notice("exit", ""),
    ]


@given(st.binary(max_size=300))
def test_hostile_lines_raise_nothing(data: bytes) -> None:
    Parser().feed(b"%output " + data + b"\n%begin " + data + b"\n" + data)


def test_arguments_cannot_leave_their_quotes() -> None:
    assert quote('a"b\n$HOME\\#{pid}') == '"a\\042b\\012\\044HOME\\134##{pid}"'
    assert send_keys("%5", b"\x00a\xff") == "send-keys -t %5 -H 00 61 ff"
