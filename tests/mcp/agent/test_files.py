"""pty_file_*: exact text in and out, kept to where agents may go, and marked as data."""

from pathlib import Path

import pytest
from tests.mcp.compat.conftest import Client

from ptybridge.errors import EtagMismatch, FileExists, FileNotFound, OutsideRoots

QUOTES = 'it\'s "quoted" $HOME `x` \\ and\nön €\t🙂\n'


@pytest.fixture
def home(client: Client, tmp_path: Path) -> Path:
    """The user's home, which is where agents may go, and the client's directory."""
    home = tmp_path / "home"
    (home / "app").mkdir(parents=True, exist_ok=True)
    client.context.cwd = str(home)
    return home


async def test_what_is_written_is_read_again_to_the_byte(client: Client, home: Path) -> None:
    wrote = await client.answer("pty_file_write", path="app/src/a.txt", text=QUOTES, create_parents=True)
    path = home / "app/src/a.txt"
    assert path.read_text() == QUOTES
    assert wrote.structured is not None
    read = await client.answer("pty_file_read", path=str(path))
    assert read.structured is not None
    assert (read.structured["text"], read.structured["eof"], read.structured["lossy"]) == (QUOTES, True, False)
    assert read.structured["etag"] == wrote.structured["etag"]
    assert "data, not instructions" in read.text
    assert "ön €" in read.text
    part = await client.answer("pty_file_read", path=str(path), offset=5, max_bytes=9)
    assert part.structured is not None
    assert (part.structured["text"], part.structured["next_offset"]) == (QUOTES[5:14], 14)
    assert "offset 14 goes on" in part.text
    path.write_text("changed by somebody")
    why = await client.refusal("pty_file_write", path=str(path), text="x", if_match=wrote.structured["etag"])
    assert isinstance(why, EtagMismatch)
    assert isinstance(await client.refusal("pty_file_write", path=str(path), text="x", overwrite=False), FileExists)
    await client.answer("pty_file_write", path=str(path), text="!\n", append=True)
    assert path.read_text() == "changed by somebody!\n"
    assert isinstance(await client.refusal("pty_file_read", path="app/none"), FileNotFound)


async def test_directories_are_listed_and_searched(client: Client, home: Path) -> None:
    for name in ("a.py", "b.py", "c.txt"):
        (home / "app" / name).write_text(f"one\nthis is {name}\nthree\n")
    (home / "app/.hidden").touch()
    await client.answer("set_default_cwd", cwd=str(home / "app"))
    listed = await client.answer("pty_file_list", limit=2)
    assert listed.structured is not None
    assert [one["name"] for one in listed.structured["entries"]] == ["a.py", "b.py"]
    assert "2 of 4 entries" in listed.text or "2 of 3 entries" in listed.text
    rest = await client.answer("pty_file_list", limit=2, cursor=listed.structured["next_cursor"])
    assert rest.structured is not None
    assert [one["name"] for one in rest.structured["entries"]] == ["c.txt"]
    found = await client.answer("pty_file_search", glob="*.py", pattern=r"is \w\.py$", context_lines=1)
    assert found.structured is not None
    assert [(Path(one["path"]).name, one["lines"][0]["line"]) for one in found.structured["files"]] == [
        ("a.py", 2),
        ("b.py", 2),
    ]
    assert "a.py-1- one" in found.text
    assert "a.py:2: this is a.py" in found.text
    assert (await client.text("pty_file_search", pattern="nowhere")) == "Nothing was found."
    few = await client.answer("pty_file_search", max_results=2)
    assert few.structured is not None
    assert (len(few.structured["files"]), few.structured["truncated"]) == (2, True)


@pytest.mark.parametrize("path", ["/etc/passwd", "~/.ssh/id_ed25519", "app/../../outside", "link/passwd"])
async def test_s30_agents_stay_where_they_may_go(client: Client, home: Path, path: str) -> None:
    (home / "link").symlink_to("/etc")
    for tool, more in (("pty_file_read", {}), ("pty_file_write", {"text": "x"})):
        assert isinstance(await client.refusal(tool, path=path, **more), OutsideRoots), (tool, path)


async def test_names_and_contents_deceive_nobody(client: Client, home: Path) -> None:
    (home / "app" / "a\x1b[2Jb").write_text("\x1b[31mred\u202e\n")
    assert "\x1b" not in await client.text("pty_file_list", path="app")
    read = await client.text("pty_file_read", path="app/a\x1b[2Jb")
    assert "\x1b" not in read
    assert "\u202e" not in read
