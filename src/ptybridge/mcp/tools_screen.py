"""pty_screen and pty_send_keys: what a full-screen program shows, and the keys it is driven with."""

from typing import Annotated, Final

import msgspec

from ptybridge.api import terminal
from ptybridge.mcp.compat_common import Answered, ConfirmToken, session_of
from ptybridge.mcp.compat_write import refusing
from ptybridge.mcp.tools_common import Here, HereAs, answer
from ptybridge.mcp.tools_picture import Picture, drawn, picture_of
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool

# Keys draw something, usually at once; a program that never stops drawing must not keep us.
QUIET_MS: Final = 150
SETTLE_MS: Final = 3000
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class Screen(Here, kw_only=True):
    """Parameters of pty_screen."""

    scrollback_lines: Annotated[int, msgspec.Meta(ge=0, le=2000, description="so many lines above the screen, too")] = 0


class SendKeys(HereAs, kw_only=True):
    """Parameters of pty_send_keys."""

    keys: Annotated[
        list[Key],
        msgspec.Meta(
            min_length=1,
            max_length=256,
            description='in order, such as "enter", "esc", "ctrl-c" or "C-c", "up", "f5", "alt-x", "pagedown", "y"',
        ),
    ]
    screen: Annotated[
        bool, msgspec.Meta(description="show the screen afterwards, once nothing more is drawn (at most 3 s)")
    ] = False
    confirm_token: ConfirmToken | None = None


class Sent(Answered, kw_only=True):
    """All keys were sent."""

    accepted_bytes: int
    screen: Picture | None = None


async def screen(ctx: Context, params: Screen) -> Answer:
    """Show the screen."""
    info = await session_of(ctx, params)
    picture = await picture_of(ctx, info.session_id, params.scrollback_lines)
    return answer(drawn(picture), picture)


async def send_keys(ctx: Context, params: SendKeys) -> Answer:
    """Press keys."""
    info = await session_of(ctx, params)
    done = await refusing(
        ctx,
        info,
        len(params.keys),
        terminal.SEND_KEYS,
        session_id=info.session_id,
        keys=params.keys,
        client_id=params.client_id,
        confirm_token=params.confirm_token or None,
    )
    if not params.screen:
        return answer(f"Sent {len(params.keys)} keys.", Sent(accepted_bytes=done.accepted_bytes))
    until = [{"idle_ms": QUIET_MS}, {"exit": True}]
    await ctx.call(terminal.WAIT, session_id=info.session_id, until=until, timeout_ms=SETTLE_MS)
    picture = await picture_of(ctx, info.session_id, 0)
    values = Sent(accepted_bytes=done.accepted_bytes, screen=picture)
    return answer(f"Sent {len(params.keys)} keys.\n{drawn(picture)}", values)


TOOLS: Final = (
    Tool(
        "pty_screen",
        "See what a session's terminal shows right now, as text, with the cursor's place: for editors, menus, pagers, "
        "and whenever you do not know where a session stands. Lines that have scrolled off come with "
        "scrollback_lines, or with pty_read_lines.",
        Screen,
        Picture,
        Hints("Look at the screen", read_only=True, idempotent=True),
        "agent",
        screen,
    ),
    Tool(
        "pty_send_keys",
        'Press keys by name, in order: ["ctrl-c"], ["esc", ":", "w", "q", "enter"], ["down", "down", "enter"]. '
        "They are encoded as the program's terminal modes want it. Text is for pty_write. With `screen` the screen "
        "is shown once it has been drawn.",
        SendKeys,
        Sent,
        Hints("Press keys", destructive=True, open_world=True),
        "agent",
        send_keys,
    ),
)
