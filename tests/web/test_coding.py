"""Which content coding a client gets, and what comes out of it."""

import gzip
import hashlib

import brotli
import pytest

from ptybridge.web.coding import COMPRESSED_FROM, THREAD_FROM, chosen, packed

TEXT = b'{"lines": ["one", "two", "three"]}' * 100


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (b"", None),
        (b"identity", None),
        (b"gzip", b"gzip"),
        (b"gzip, deflate, br, zstd", b"br"),
        (b"GZIP;q=1.0, BR;q=0.5", b"gzip"),
        (b"br;q=0, gzip", b"gzip"),
        (b"br;q=0.000, gzip; q = 0", None),
        (b"*", b"br"),
        (b"*;q=0.1, br;q=0", b"gzip"),
        (b"gzip;q=much", None),
        (b"gzip;q=nan", None),
        (b"x-gzip", None),
    ],
)
def test_what_a_client_likes_best(accepted: bytes, coding: bytes | None) -> None:
    assert chosen(accepted) == coding


async def test_a_body_comes_out_as_it_went_in() -> None:
    for body in (TEXT, TEXT * (THREAD_FROM // len(TEXT) + 1)):
        for accepted, unpack in ((b"br", brotli.decompress), (b"gzip", gzip.decompress)):
            smaller, coding = await packed(accepted, body)
            assert coding == accepted
            assert len(smaller) < len(body) / 10
            assert unpack(smaller) == body


async def test_what_is_small_or_would_grow_is_sent_as_it_is() -> None:
    small = b"x" * (COMPRESSED_FROM - 1)
    assert await packed(b"br, gzip", small) == (small, None)
    noise = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(COMPRESSED_FROM // 32 + 1))
    assert await packed(b"br, gzip", noise) == (noise, None)
