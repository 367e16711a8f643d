"""The screen of a session as the tools made for agents show it; also in place of what a full-screen program prints."""

from ptybridge.api import terminal
from ptybridge.errors import Conflict
from ptybridge.mcp.compat_common import Answered
from ptybridge.mcp.toolset import Context
from ptybridge.mcp.untrusted import quoted
from ptybridge.text import plain, printable


class Picture(Answered, kw_only=True):
    """What the terminal shows. The cursor counts from 0. `alternate`: a full-screen program draws."""

    session_id: str
    lines: list[str]
    scrollback: list[str]
    rows: int
    cols: int
    cursor_row: int
    cursor_col: int
    cursor_visible: bool
    title: str
    alternate: bool
    offset: int


async def full_screen(ctx: Context, session_id: str) -> Picture | None:
    """Return the screen if a full-screen program draws it: what that prints is nothing to read."""
    try:
        picture = await picture_of(ctx, session_id)
    except Conflict:
        return None  # pipes have no screen
    return picture if picture.alternate else None


async def picture_of(ctx: Context, session_id: str, scrollback: int = 0) -> Picture:
    """Look at a session's screen. Raises `SessionNotFound`, or `Conflict` when it has none."""
    seen = await ctx.call(terminal.SCREEN, session_id=session_id, scrollback_lines=scrollback)
    lines = [plain(line).rstrip() for line in seen.lines]
    while lines and not lines[-1]:
        lines.pop()
    return Picture(
        session_id=session_id,
        lines=lines,
        scrollback=[plain(line).rstrip() for line in seen.scrollback],
        rows=seen.rows,
        cols=seen.cols,
        cursor_row=seen.cursor.row,
        cursor_col=seen.cursor.col,
        cursor_visible=seen.cursor.visible,
        title=printable(seen.title, 200),
        alternate=seen.alternate,
        offset=seen.offset,
    )


def drawn(picture: Picture) -> str:
    """Return a picture as a model is shown it."""
    facts = [f"{picture.rows} rows, {picture.cols} columns"]
    hidden = "" if picture.cursor_visible else " (hidden)"
    facts.append(f"cursor in row {picture.cursor_row}, column {picture.cursor_col}{hidden}, counted from 0")
    if picture.alternate:
        facts.append("a full-screen program (alternate screen)")
    body = [*picture.scrollback, *picture.lines]
    source = f"screen of session {picture.session_id}"
    if picture.title:
        source += f", titled {picture.title!r}"
    if not any(body):
        return f"The screen is empty: {'; '.join(facts)}."
    above = f" The first {len(picture.scrollback)} lines are above it." if picture.scrollback else ""
    return f"The screen: {'; '.join(facts)}.{above}\n" + quoted("\n".join(body), source)
