"""Attach frames: there and back at every cut, and what a careless or hostile peer may send."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.errors import InvalidRequest, RequestTooLarge
from ptybridge.wire import attach
from ptybridge.wire.attach import FrameBuffer

U16 = st.integers(0, 2**16 - 1)
U64 = st.integers(0, 2**64 - 1)
DATA = st.binary(max_size=40)
FRAMES = st.one_of(
    st.builds(attach.Input, DATA),
    st.builds(attach.Resize, U16, U16),
    st.builds(attach.Ack, U64),
    st.just(attach.Detach()),
    st.builds(attach.Output, U64, DATA),
    st.builds(attach.Snapshot, U64, U16, U16, DATA),
    st.builds(attach.Rendered, U64, DATA),
    st.builds(attach.Gap, U64, U64),
    st.builds(
        attach.Marks,
        st.lists(
            st.builds(attach.CommandMark, U16, st.sampled_from(["prompt", "running", "done"]), st.none() | U16),
            max_size=3,
        ),
    ),
    st.builds(attach.Resized, U16, U16, st.integers(0, 255)),
    st.builds(attach.Exited, st.none() | st.integers(0, 255), st.none() | st.text(), end_offset=U64),
    st.builds(attach.Detached, st.text(), st.text()),
    st.builds(attach.Mode, st.booleans()),
    st.builds(attach.Error, st.text(), st.text(), st.none() | st.text()),
    st.builds(attach.Ping, st.binary(min_size=8, max_size=8)),
    st.builds(attach.Pong, st.binary(min_size=8, max_size=8)),
)


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BI", kind, len(payload)) + payload


@given(st.lists(FRAMES, max_size=6), st.data())
def test_frames_come_back_whatever_the_cuts(frames: list[attach.Frame], data: st.DataObject) -> None:
    stream = b"".join(map(attach.encode, frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    buffer = FrameBuffer()
    found: list[attach.Frame] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += buffer.feed(stream[start:stop])
    assert found == frames


@given(FRAMES)
def test_frame_comes_back_byte_by_byte(one: attach.Frame) -> None:
    buffer = FrameBuffer()
    found = [frame for byte in attach.encode(one) for frame in buffer.feed(bytes([byte]))]
    assert found == [one]


def test_bytes_on_the_wire() -> None:
    assert attach.encode(attach.Resize(rows=24, cols=80)) == bytes.fromhex("02 00000004 0018 0050")
    assert attach.encode(attach.Output(258, b"hi")) == bytes.fromhex("11 0000000a 0000000000000102 6869")
    assert attach.encode(attach.Mode(writer=True)) == bytes.fromhex("18 00000001 01")


@given(U64, DATA)
def test_output_head_and_data_make_an_output_frame(offset: int, data: bytes) -> None:
    head = attach.output_head(offset, len(data))
    assert head + data == attach.encode(attach.Output(offset, data))


def test_unknown_types_are_skipped() -> None:
    stream = frame(0xEE, b"anything") + attach.encode(attach.Detach())
    assert FrameBuffer().feed(stream) == [attach.Detach()]


def test_fields_of_the_future_are_ignored() -> None:
    assert FrameBuffer().feed(frame(attach.Resize.type, bytes.fromhex("0018 0050 ffff"))) == [attach.Resize(24, 80)]
    assert FrameBuffer().feed(frame(attach.Detached.type, b'{"reason":"kicked","by":1}')) == [attach.Detached("kicked")]


@pytest.mark.parametrize("kind", [0x02, 0x03, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x21, 0x22])
def test_short_payload_is_an_error(kind: int) -> None:
    with pytest.raises(InvalidRequest):
        FrameBuffer().feed(frame(kind, b""))


def test_a_payload_of_other_types_is_told_in_words() -> None:
    with pytest.raises(
        InvalidRequest, match=r"^bad frame of type 0x16: exit_code must be a whole number or null, not text"
    ):
        FrameBuffer().feed(frame(attach.Exited.type, b'{"exit_code":"1"}'))


def test_oversized_frame_is_refused_before_it_comes() -> None:
    buffer = FrameBuffer(limit=100)
    assert buffer.feed(frame(0x01, b"x" * 100)) == [attach.Input(b"x" * 100)]
    with pytest.raises(RequestTooLarge):
        buffer.feed(struct.pack(">BI", 0x01, 101))


def test_error_ends_the_stream() -> None:
    buffer = FrameBuffer()
    with pytest.raises(InvalidRequest):
        buffer.feed(frame(attach.Resize.type, b"") + attach.encode(attach.Detach()))
    with pytest.raises(InvalidRequest):
        buffer.feed(attach.encode(attach.Detach()))


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_junk_raises_only_typed_errors(parts: list[bytes]) -> None:
    buffer = FrameBuffer(limit=1000)
    try:
        for part in parts:
            buffer.feed(part)
    except (InvalidRequest, RequestTooLarge):
        pass


def test_large_frame_in_small_pieces_is_not_quadratic() -> None:
    stream = attach.encode(attach.Input(bytes(20_000_000)))
    buffer = FrameBuffer()
    found = [one for at in range(0, len(stream), 1000) for one in buffer.feed(stream[at : at + 1000])]
    assert len(found) == 1
