"""`/docs/websocket`: what goes over a terminal's WebSocket, made from the frames themselves."""

from html import escape
from inspect import cleandoc
from typing import Final

from ptybridge.wire import attach as frames

_CLIENT: Final = (frames.Input, frames.Resize, frames.Ack, frames.Detach)
_SERVER: Final = (
    frames.Output, frames.Snapshot, frames.Rendered, frames.Gap, frames.Resized, frames.Exited, frames.Detached,
    frames.Mode, frames.Error, frames.Marks,
)  # fmt: skip
_BOTH: Final = (frames.Ping, frames.Pong)

_CODES: Final = {
    "1000": "It is over: exited, closed, detached, kicked …",
    "1001": "The server stops; connect again with `offset`.",
    "1003": "Text on a binary connection; `?mode=text` is for text.",
    "1009": "A message over 1 MiB; cut it.",
    "1011": "A defect in ptybridge; connect again.",
    "4400 …": "4000 + the HTTP status of the error, with its code as the reason: 4401 log in, 4403 not allowed.",
}
_TEXT: Final = """
`GET /v1/sessions/{session_id}/attach` with an upgrade to WebSocket, and the parameters of `session.attach` in the
query. Offer the subprotocol `ptybridge.v1`; a ticket of `POST /v1/tickets` is offered beside it as `ticket.VALUE`,
a key is sent as a bearer, a browser's cookie by itself. Extensions are declined.

The first message is text: `{"attached": {…}}` with the answer of `session.attach`, or `{"error": {…}}` and a close.
After it all messages are binary frames: u8 type, u32 length of the payload, payload, all big-endian. Numbers are u64
for offsets and u16 for sizes, in the order given here; `data` is the rest of the payload; what is marked JSON is an
object of these fields. Frames of an unknown type are to be skipped.

Acknowledge what you have shown with ACK: no more than `window` bytes of output (1 MiB unless asked otherwise; 0: no
limit of ours) are sent beyond that. To resume a connection that was lost, connect again with the offset behind the
last output as `offset`.

With `mode=text` all messages are JSON: `{"stdin": "…"}`, `{"resize": {"cols": C, "rows": R}}` and `{"signal": "INT"}`
from the client, `{"stdout": "…", "next_offset": N}`, `{"gap": {…}}`, `{"resized": {…}}`, `{"exit_code": …}` and
`{"error": {…}}` from the server.
"""


def page(style: str) -> str:
    """Return the page."""
    paragraphs = "".join(f"<p>{_marked(part)}</p>" for part in _TEXT.strip().split("\n\n"))
    tables = "".join(
        f"<h2>{heading}</h2><dl>{''.join(_frame(kind) for kind in kinds)}</dl>"
        for heading, kinds in (("Client to server", _CLIENT), ("Server to client", _SERVER), ("Both ways", _BOTH))
    )
    codes = "".join(f"<dt>{code}</dt><dd>{_marked(text)}</dd>" for code, text in _CODES.items())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>ptybridge: terminals over WebSocket</title>'
        f'<meta name="viewport" content="width=device-width"><style>{style}</style>'
        f'<h1>Terminals over WebSocket</h1><nav><a href="../docs">API</a></nav>{paragraphs}{tables}'
        f"<h2>Close codes</h2><dl>{codes}</dl></html>"
    )


def _frame(kind: type[frames.Frame]) -> str:
    fields = ", ".join(kind.__struct_fields__) or "empty"
    return (
        f"<dt>0x{kind.type:02x} {kind.__name__.upper()} ({fields})</dt><dd>{_marked(cleandoc(kind.__doc__ or ''))}</dd>"
    )


def _marked(text: str) -> str:
    parts = escape(text, quote=False).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))
