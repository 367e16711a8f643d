"""The headers every answer carries, so that a browser lets no other page use it, frame it or read it."""

from typing import Final

from ptybridge.web.context import Message

# For what is no page of ours; those bring their own policy. (CSP level 3)
_POLICY: Final = b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
POLICY: Final = b"content-security-policy"
SECURITY: Final[dict[bytes, bytes]] = {
    POLICY: _POLICY,
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    # What an answer says may be somebody's alone; what may be kept says so itself.
    b"cache-control": b"no-store",
}


def secure(message: Message) -> None:
    """Add to the start of a response what it does not say itself."""
    headers = list(message.get("headers", ()))
    said = {name.lower() for name, _ in headers}
    headers += [(name, value) for name, value in SECURITY.items() if name not in said]
    if POLICY not in said:
        headers.append((b"x-frame-options", b"DENY"))
    message["headers"] = headers
