"""Content codings: which one a client takes (RFC 9110 section 12.5.3), and how text is compressed for it.

Small answers and what may be secret are never compressed: the first fit into a packet anyway, and of the second a
length tells something. Streams of events are not either: each of them has to arrive by itself.
"""

import zlib
from collections.abc import Callable
from typing import Final

import brotli
import trio

COMPRESSED_FROM: Final = 1400  # smaller ones fit into one packet anyway
THREAD_FROM: Final = 256 * 1024  # compressing so much would hold up everybody else


def chosen(accept_encoding: bytes) -> bytes | None:
    """Return the coding that a client likes best of those we have, None when it is none of them."""
    wanted: dict[bytes, float] = {}
    for choice in accept_encoding.lower().split(b","):
        name, _, quality = choice.partition(b";")
        wanted[name.strip()] = _quality(quality)
    # The first of those that are liked as much as each other.
    best = max(_CODINGS, key=lambda name: wanted.get(name, wanted.get(b"*", 0.0)))
    return best if wanted.get(best, wanted.get(b"*", 0.0)) > 0 else None


def compress(coding: bytes, body: bytes) -> bytes:
    """Compress, as fast as the line is rather than as small as can be."""
    return _CODINGS[coding](body)


async def packed(accept_encoding: bytes, body: bytes) -> tuple[bytes, bytes | None]:
    """Return the body as it is sent, and its coding if it has one."""
    coding = chosen(accept_encoding) if len(body) >= COMPRESSED_FROM else None
    if coding is None:
        return body, None
    if len(body) < THREAD_FROM:
        smaller = compress(coding, body)
    else:
        smaller = await trio.to_thread.run_sync(compress, coding, body)
    return (smaller, coding) if len(smaller) < len(body) else (body, None)


def _quality(text: bytes) -> float:
    name, _, value = text.strip().replace(b" ", b"").partition(b"=")
    if name != b"q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _brotli(body: bytes) -> bytes:
    # Of its 12 levels the one that takes as long as gzip's fourth.
    small: bytes = brotli.compress(body, mode=brotli.MODE_TEXT, quality=4)
    return small


def _gzip(body: bytes) -> bytes:
    # 16 + window bits: with gzip's header, see zlib's manual.
    compressor = zlib.compressobj(level=4, wbits=16 + zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()


_CODINGS: Final[dict[bytes, Callable[[bytes], bytes]]] = {b"br": _brotli, b"gzip": _gzip}
