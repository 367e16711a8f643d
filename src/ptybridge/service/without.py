"""Answers without known secrets, whatever their shape: texts, lists of lines, base64, a screen as HTML."""

import base64
import binascii
import html
import re
from typing import Any, Final

import msgspec

from ptybridge.api import exec as exec_api
from ptybridge.api import terminal as terminal_api
from ptybridge.core.redaction import edges, marked, redact, scan, united

# The fields whose encoding an answer's `encoding` tells.
_ENCODED: Final = frozenset({"data", "stdout", "stderr"})
# What programs have shown, and a limit may have cut anywhere.
_CUT: Final = _ENCODED | {"output"}
# As `service.outputs` says that the middle is missing.
_LEFT_OUT: Final = re.compile(r"(\n\[… \d+ bytes left out …\]\n)")
_TAG: Final = re.compile(r"<[^>]*>")


def without(answer: Any, values: tuple[bytes, ...]) -> Any:
    """Return an answer whose texts have no known secret."""
    match answer:
        case str():
            return _text(answer, values)
        case list() if all(isinstance(one, str) for one in answer):
            return _lines(answer, values)
        case list():
            return [without(one, values) for one in answer]
        case dict():
            return {name: without(one, values) for name, one in answer.items()}
        case terminal_api.ScreenPicture():
            return _screen(answer, values)
        case msgspec.Struct():
            return _fields(answer, values)
    return answer


def _fields(answer: msgspec.Struct, values: tuple[bytes, ...]) -> msgspec.Struct:
    changed = {}
    encoded = getattr(answer, "encoding", None) == "base64"
    for name in answer.__struct_fields__:
        old = getattr(answer, name)
        if name in _CUT and isinstance(old, str):
            new = _output(old, values, encoded=encoded and name in _ENCODED, cut_at=_cut_at(answer, name))
        else:
            new = without(old, values)
        if new is not old and new != old:
            changed[name] = new
    return msgspec.structs.replace(answer, **changed) if changed else answer


def _cut_at(answer: msgspec.Struct, name: str) -> int | None:
    """Return behind how many bytes something is missing in a text that does not say so itself."""
    if not isinstance(answer, exec_api.RunResult):
        return None
    cut = next((cut for stream, cut in answer.truncated.items() if stream == name), None)
    return cut.head_bytes if cut is not None else None


def _text(text: str, values: tuple[bytes, ...]) -> str:
    data = text.encode("utf-8", "surrogatepass")
    clean = redact(data, values, forms=False)
    return text if clean == data else clean.decode("utf-8", "surrogatepass")


def _output(text: str, values: tuple[bytes, ...], *, encoded: bool, cut_at: int | None) -> str:
    if encoded:
        try:
            data = base64.b64decode(text, validate=True)
        except binascii.Error:
            return text
        return base64.b64encode(_output_bytes(data, values, cut_at)).decode("ascii")
    pieces = _LEFT_OUT.split(text)
    for at in range(0, len(pieces), 2):  # what separates them stands between
        data = pieces[at].encode("utf-8", "surrogatepass")
        clean = _output_bytes(data, values, cut_at)
        if clean != data:
            pieces[at] = clean.decode("utf-8", "replace")
    return "".join(pieces)


def _output_bytes(data: bytes, values: tuple[bytes, ...], cut_at: int | None) -> bytes:
    if cut_at is not None:
        return _output_bytes(data[:cut_at], values, None) + _output_bytes(data[cut_at:], values, None)
    spans = scan(data, values, forms=False).spans
    return marked(data, united(spans + edges(data, values)), 0, len(data))


def _lines(lines: list[str], values: tuple[bytes, ...], *, cut: bool = False) -> list[str]:
    """Redact lines: what the width has broken up goes on in the next one. `cut`: what was before is missing."""
    pieces = [line.encode("utf-8", "surrogatepass") for line in lines]
    whole = b"\n".join(pieces)
    spans = scan(whole, values, forms=False).spans
    if cut:
        spans = united(spans + edges(whole, values))
    if not spans:
        return lines
    clean, at = [], 0
    for piece in pieces:
        clean.append(marked(whole, spans, at, at + len(piece)).decode("utf-8", "replace"))
        at += len(piece) + 1
    return clean


def _screen(picture: terminal_api.ScreenPicture, values: tuple[bytes, ...]) -> terminal_api.ScreenPicture:
    """Redact a screen with what stands above it; of a line of HTML that has a secret the style is lost."""
    both = [*picture.scrollback, *picture.lines]
    # Where there is a tag everything else is escaped, and in the other formats no "<" is one.
    as_html = any(_TAG.sub("", line) != line for line in both) or any("&" in line for line in both)
    bare = [html.unescape(_TAG.sub("", line)) for line in both] if as_html else both
    clean = _lines(bare, values, cut=True)
    if as_html:
        clean = [old if was == new else html.escape(new) for old, was, new in zip(both, bare, clean, strict=True)]
    above = len(picture.scrollback)
    title = _text(picture.title, values)
    return msgspec.structs.replace(picture, scrollback=clean[:above], lines=clean[above:], title=title)
