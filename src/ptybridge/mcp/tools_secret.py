"""pty_send_secret: let the user type a password into a session, without the model ever seeing it."""

from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api import secret as api
from ptybridge.mcp.compat_common import Answered, AsClient, session_of
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool

TIMEOUT_MS: Final = 120_000


class SendSecret(AsClient, kw_only=True):
    """Parameters of pty_send_secret."""

    prompt: Annotated[
        str, msgspec.Meta(min_length=1, max_length=500, description="what the user is asked for, and why")
    ]
    timeout_ms: Annotated[
        int, msgspec.Meta(ge=0, le=3_600_000, description="how long to wait for the user (default 120000)")
    ] = TIMEOUT_MS
    enter: Annotated[bool, msgspec.Meta(description="press Enter after it (default true)")] = True


class Sent(Answered, kw_only=True):
    """How it ended. `redacted`: what the session shows of the value reads [redacted]."""

    reason: Literal["provided", "denied", "timeout", "exited"]
    accepted_bytes: int
    redacted: bool


_TEXTS: Final = {
    "provided": "the user has typed it; read on to see what the program does",
    "denied": "the user has refused to give it; do not ask again without a reason",
    "timeout": "nobody has answered; tell the user to run `ptybridge secrets` in a terminal, and call this again",
    "exited": "the program has ended meanwhile",
}


async def send_secret(ctx: Context, params: SendSecret) -> Answer:
    """Ask the user, and wait."""
    info = await session_of(ctx, params)
    done = await ctx.call(
        api.REQUEST,
        session_id=info.session_id,
        prompt=params.prompt,
        timeout_ms=params.timeout_ms,
        enter=params.enter,
        client_id=params.client_id,
    )
    sent = Sent(reason=done.reason, accepted_bytes=done.accepted_bytes, redacted=done.redacted)
    return Answer(f"{done.reason}: {_TEXTS[done.reason]}", msgspec.to_builtins(sent))


TOOLS: Final = (
    Tool(
        "pty_send_secret",
        "When a program in a session asks for a password, a passphrase or a token: let the user type it. The user "
        "answers with `ptybridge secrets` in another terminal; you never see the value, and must not ask for it in "
        "the conversation. Waits until it is given, denied, or the time is over.",
        SendSecret,
        Sent,
        Hints("Let the user type a secret", open_world=True),
        "agent",
        send_secret,
    ),
)
