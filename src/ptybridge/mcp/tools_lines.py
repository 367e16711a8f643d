"""pty_read_lines and pty_search: a session's kept output as numbered clean lines."""

from typing import Annotated, Final

import msgspec

from ptybridge.api import command as api
from ptybridge.mcp.compat_common import Answered, session_of
from ptybridge.mcp.tools_common import Here, HereAs, answer
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool
from ptybridge.mcp.untrusted import quoted

ANY_LINE: Final = "^"
# The most `session.search` gives at once.
MOST_MATCHES: Final = 10_000
# A line of a minified file would be all there is to see.
MOST_CHARS: Final = 2000


class ReadLines(Here, kw_only=True):
    """Parameters of pty_read_lines."""

    from_line: Annotated[
        int, msgspec.Meta(ge=-(1 << 40), le=1 << 40, description="first line, from 1; negative: from the end")
    ] = -100
    count: Annotated[int, msgspec.Meta(ge=1, le=2000, description="at most so many lines")] = 100


class Line(Answered, kw_only=True):
    """A line and where it begins."""

    line: int
    offset: int
    text: str


class Lines(Answered, kw_only=True):
    """The lines asked for. `next_line` is null when nothing follows."""

    lines: list[Line]
    total_lines: int
    remaining_lines: int
    next_line: int | None
    start_offset: int
    end_offset: int


class Search(HereAs, kw_only=True):
    """Parameters of pty_search."""

    pattern: Annotated[str, msgspec.Meta(min_length=1, max_length=16_384)]
    regex: Annotated[bool, msgspec.Meta(description="take it for an RE2 expression, not plain text")] = False
    ignore_case: bool = False
    context_lines: Annotated[int, msgspec.Meta(ge=0, le=20, description="lines before and after each match")] = 0
    max_matches: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    newest_first: Annotated[bool, msgspec.Meta(description="search from the end of the output backwards")] = False
    from_offset: Annotated[
        Annotated[int, msgspec.Meta(ge=0)] | None, msgspec.Meta(description="begin here; next_offset pages on")
    ] = None


class Hit(Line, kw_only=True):
    """A line that matches, with its neighbours."""

    before: list[str]
    after: list[str]


class Found(Answered, kw_only=True):
    """What was found. With `more`, go on from `next_offset`."""

    matches: list[Hit]
    more: bool
    next_offset: int
    missed_bytes: int


async def read_lines(ctx: Context, params: ReadLines) -> Answer:
    """Read lines by number."""
    info = await session_of(ctx, params)
    last = await _page(ctx, info.session_id, None, 1, backward=True)
    total = last.matches[0].line if last.matches else 0
    first = max(1, params.from_line if params.from_line >= 0 else total + params.from_line + 1)
    end = min(total, first + params.count - 1)
    found = await _between(ctx, info.session_id, first, end, total)
    remaining = max(0, total - max(end, first - 1))
    values = Lines(
        lines=[Line(line=one.line, offset=one.offset, text=one.text[:MOST_CHARS]) for one in found],
        total_lines=total,
        remaining_lines=remaining,
        next_line=end + 1 if remaining else None,
        start_offset=last.start_offset,
        end_offset=last.end_offset,
    )
    if not found:
        told = f"There is no line {first}: {total} lines are kept." if total else "Nothing was printed yet."
        return answer(told, values)
    told = f"Lines {found[0].line}-{found[-1].line} of {total}, {remaining} remaining"
    told += f" (from_line {end + 1} goes on)." if remaining else "."
    if last.start_offset:
        told += f" The first {last.start_offset} bytes of output are no longer kept; lines count from there."
    return answer(f"{told}\n{quoted(_numbered(found), f'output of session {info.session_id}')}", values)


async def _between(ctx: Context, session_id: str, first: int, end: int, total: int) -> list[api.Match]:
    """Return the lines `first` to `end`, counted from whichever end of the output is nearer."""
    found: list[api.Match] = []
    backward = total - first < end
    begin: int | None = None
    left = total - first + 1 if backward else end
    while left > 0:
        page = await _page(ctx, session_id, begin, min(MOST_MATCHES, left), backward=backward)
        found += [one for one in page.matches if first <= one.line <= end]
        left -= len(page.matches)
        begin = page.next_offset
        if not page.more:
            break
    return sorted(found, key=lambda one: one.line)


async def _page(ctx: Context, session_id: str, begin: int | None, count: int, *, backward: bool) -> api.Found:
    return await ctx.call(
        api.SEARCH,
        session_id=session_id,
        pattern=ANY_LINE,
        regex=True,
        max_matches=count,
        from_offset=begin,
        direction="backward" if backward else "forward",
    )


async def search(ctx: Context, params: Search) -> Answer:
    """Search the output."""
    info = await session_of(ctx, params)
    found = await ctx.call(
        api.SEARCH,
        session_id=info.session_id,
        pattern=params.pattern,
        regex=params.regex,
        ignore_case=params.ignore_case,
        context_lines=params.context_lines,
        max_matches=params.max_matches,
        from_offset=params.from_offset,
        direction="backward" if params.newest_first else "forward",
        client_id=params.client_id,
    )
    values = Found(
        matches=[
            Hit(
                line=one.line,
                offset=one.offset,
                text=one.text[:MOST_CHARS],
                before=[text[:MOST_CHARS] for text in one.before],
                after=[text[:MOST_CHARS] for text in one.after],
            )
            for one in found.matches
        ],
        more=found.more,
        next_offset=found.next_offset,
        missed_bytes=found.missed_bytes,
    )
    if not values.matches:
        return answer("No line matches.", values)
    told = f"{len(values.matches)} lines match" + (f", more from_offset {found.next_offset}." if found.more else ".")
    return answer(f"{told}\n{quoted(_grep(values.matches), f'output of session {info.session_id}')}", values)


def _numbered(lines: list[api.Match]) -> str:
    return "\n".join(f"{one.line}: {one.text[:MOST_CHARS]}" for one in lines)


def _grep(matches: list[Hit]) -> str:
    parts = []
    for one in matches:
        before = [f"{one.line - len(one.before) + at}- {text}" for at, text in enumerate(one.before)]
        after = [f"{one.line + 1 + at}- {text}" for at, text in enumerate(one.after)]
        parts.append("\n".join([*before, f"{one.line}: {one.text}", *after]))
    return ("\n--\n" if any(one.before or one.after for one in matches) else "\n").join(parts)


TOOLS: Final = (
    Tool(
        "pty_read_lines",
        "Read a session's output by line numbers, as clean lines; without arguments its last 100. Says how many lines "
        "there are and remain. Moves nobody's position.",
        ReadLines,
        Lines,
        Hints("Read lines", read_only=True, idempotent=True),
        "agent",
        read_lines,
    ),
    Tool(
        "pty_search",
        "Search a session's kept output for lines with a text or an RE2 expression, with line numbers and offsets; "
        "better than reading a long log.",
        Search,
        Found,
        Hints("Search the output", read_only=True, idempotent=True),
        "agent",
        search,
    ),
)
