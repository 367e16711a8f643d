"""pty_file_*: files as an agent wants them: exact text in and out, without a shell's quoting, kept to its roots."""

from typing import Annotated, Final

import msgspec

from ptybridge.api import file as api
from ptybridge.mcp.compat_common import Answered, Arguments, connection
from ptybridge.mcp.tools_common import SHOWN_BYTES, answer
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool
from ptybridge.mcp.untrusted import quoted
from ptybridge.text import printable

# A line of a minified file would be all there is to see.
MOST_CHARS: Final = 2000
Path = Annotated[
    str, msgspec.Meta(min_length=1, max_length=4096, description="absolute, or from ~ on, or from your directory on")
]


class _At(Arguments, kw_only=True):
    path: Path


class ReadFile(_At, kw_only=True):
    """Parameters of pty_file_read."""

    offset: Annotated[
        int, msgspec.Meta(ge=0, le=2**63 - 1, description="begin here, in bytes; next_offset goes on")
    ] = 0
    max_bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = SHOWN_BYTES


class FileText(Answered, kw_only=True):
    """A part of a file. `lossy`: bytes that are no text were replaced. `etag`: for `if_match` of pty_file_write."""

    path: str
    text: str
    offset: int
    next_offset: int
    size: int
    eof: bool
    lossy: bool
    etag: str


class WriteFile(_At, kw_only=True):
    """Parameters of pty_file_write."""

    text: Annotated[str, msgspec.Meta(description="exactly what the file is to hold, or what is added to it")]
    append: Annotated[bool, msgspec.Meta(description="add to the end instead")] = False
    overwrite: Annotated[bool, msgspec.Meta(description="replace a file that is there")] = True
    create_parents: Annotated[bool, msgspec.Meta(description="make the directories above it")] = False
    if_match: Annotated[
        str | None, msgspec.Meta(description="only if the file still has this etag, from pty_file_read")
    ] = None


class Written(Answered, kw_only=True):
    """The file as it is now."""

    path: str
    size: int
    etag: str


class ListFiles(Arguments, kw_only=True):
    """Parameters of pty_file_list."""

    path: Path = "."
    hidden: Annotated[bool, msgspec.Meta(description="also names that begin with a dot")] = False
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 200
    cursor: Annotated[str | None, msgspec.Meta(description="next_cursor of the page before")] = None


class Entry(Answered, kw_only=True):
    """An entry of a directory; `type` is "file", "directory", "symlink" and so on."""

    name: str
    type: str
    size: int
    modified_ms: int


class Listed(Answered, kw_only=True):
    """A page of a directory with `total` entries."""

    path: str
    entries: list[Entry]
    total: int
    next_cursor: str | None


class SearchFiles(Arguments, kw_only=True):
    """Parameters of pty_file_search."""

    path: Path = "."
    glob: Annotated[str | None, msgspec.Meta(description="names that fit, or with a slash paths, e.g. src/**/*.py")] = (
        None
    )
    pattern: Annotated[str | None, msgspec.Meta(description="an RE2 expression for a line")] = None
    ignore_case: bool = False
    context_lines: Annotated[int, msgspec.Meta(ge=0, le=20)] = 0
    max_results: Annotated[int, msgspec.Meta(ge=1, le=500, description="lines, or without a pattern files")] = 50
    hidden: Annotated[bool, msgspec.Meta(description="also names that begin with a dot")] = False


class FoundLine(Answered, kw_only=True):
    """A line that matches, its number from 1, and its neighbours."""

    line: int
    text: str
    before: list[str]
    after: list[str]


class FoundFile(Answered, kw_only=True):
    """A file that fits, and which of its lines match."""

    path: str
    type: str
    size: int
    lines: list[FoundLine]


class FilesFound(Answered, kw_only=True):
    """What was found; `truncated`: there is more."""

    files: list[FoundFile]
    truncated: bool
    searched_files: int


async def read(ctx: Context, params: ReadFile) -> Answer:
    """Read a part of a file."""
    found = await ctx.call(
        api.READ, path=params.path, cwd=_directory(ctx), offset=params.offset, max_bytes=params.max_bytes
    )
    values = FileText(
        path=found.path,
        text=found.data,
        offset=found.offset,
        next_offset=found.next_offset,
        size=found.size,
        eof=found.eof,
        lossy=found.lossy,
        etag=found.etag,
    )
    told = f"Bytes {found.offset}-{found.next_offset} of {found.size}, etag {found.etag}."
    if not found.eof:
        told += f" offset {found.next_offset} goes on."
    if found.lossy:
        told += " It is no UTF-8 text: some bytes were replaced."
    return answer(f"{told}\n{quoted(found.data, found.path)}" if found.data else f"{told} Nothing is there.", values)


async def write(ctx: Context, params: WriteFile) -> Answer:
    """Write a file."""
    done = await ctx.call(
        api.WRITE,
        path=params.path,
        cwd=_directory(ctx),
        data=params.text,
        append=params.append,
        overwrite=params.overwrite,
        create_parents=params.create_parents,
        if_match=params.if_match,
    )
    values = Written(path=done.path, size=done.size, etag=done.etag)
    return answer(f"{printable(done.path)} has {done.size} bytes now, etag {done.etag}.", values)


async def listing(ctx: Context, params: ListFiles) -> Answer:
    """List a directory."""
    found = await ctx.call(
        api.LIST,
        path=params.path,
        cwd=_directory(ctx),
        hidden=params.hidden,
        limit=params.limit,
        cursor=params.cursor,
    )
    values = Listed(
        path=found.path,
        entries=[
            Entry(name=one.name, type=one.type, size=one.size, modified_ms=one.modified_ms) for one in found.entries
        ],
        total=found.total,
        next_cursor=found.next_cursor,
    )
    told = f"{len(values.entries)} of {found.total} entries."
    if found.next_cursor is not None:
        told += " next_cursor goes on."
    if not values.entries:
        return answer(told, values)
    lines = [f"{one.type:9} {one.size:>10} {printable(one.name)}" for one in values.entries]
    return answer(f"{told}\n{quoted(chr(10).join(lines), found.path)}", values)


async def search(ctx: Context, params: SearchFiles) -> Answer:
    """Find files, or lines in them."""
    found = await ctx.call(
        api.SEARCH,
        path=params.path,
        cwd=_directory(ctx),
        glob=params.glob,
        pattern=params.pattern,
        ignore_case=params.ignore_case,
        context_lines=params.context_lines,
        max_results=params.max_results,
        hidden=params.hidden,
    )
    values = FilesFound(
        files=[
            FoundFile(
                path=one.entry.path,
                type=one.entry.type,
                size=one.entry.size,
                lines=[
                    FoundLine(
                        line=line.number,
                        text=line.text[:MOST_CHARS],
                        before=[text[:MOST_CHARS] for text in line.before],
                        after=[text[:MOST_CHARS] for text in line.after],
                    )
                    for line in one.lines
                ],
            )
            for one in found.matches
        ],
        truncated=found.truncated,
        searched_files=found.searched_files,
    )
    if not values.files:
        return answer("Nothing was found.", values)
    told = f"{len(values.files)} files." + (
        " There is more: max_results, or a narrower search." if found.truncated else ""
    )
    return answer(f"{told}\n{quoted(chr(10).join(_shown(values.files)), found.path)}", values)


def _shown(files: list[FoundFile]) -> list[str]:
    lines = []
    for one in files:
        name = printable(one.path)
        if not one.lines:
            lines.append(name)
        for hit in one.lines:
            lines += [f"{name}-{hit.line - len(hit.before) + at}- {text}" for at, text in enumerate(hit.before)]
            lines.append(f"{name}:{hit.line}: {hit.text}")
            lines += [f"{name}-{hit.line + 1 + at}- {text}" for at, text in enumerate(hit.after)]
    return lines


def _directory(ctx: Context) -> str:
    return connection(ctx).default_cwd or ctx.cwd


TOOLS: Final = (
    Tool(
        "pty_file_read",
        "Read a text file, or a part of it, exactly. Its etag makes sure with pty_file_write that nobody has changed "
        "it meanwhile. Credentials and what lies outside of the allowed directories are refused.",
        ReadFile,
        FileText,
        Hints("Read a file", read_only=True, idempotent=True),
        "agent",
        read,
    ),
    Tool(
        "pty_file_write",
        "Write a text file whole, in place of what was there, or add to its end; no quoting, and never half written.",
        WriteFile,
        Written,
        Hints("Write a file", destructive=True),
        "agent",
        write,
    ),
    Tool(
        "pty_file_list",
        "List a directory: names, types, sizes, times.",
        ListFiles,
        Listed,
        Hints("List a directory", read_only=True, idempotent=True),
        "agent",
        listing,
    ),
    Tool(
        "pty_file_search",
        "Find files below a directory by name, by a line they hold, or both; keeps to .gitignore.",
        SearchFiles,
        FilesFound,
        Hints("Search files", read_only=True, idempotent=True),
        "agent",
        search,
    ),
)
