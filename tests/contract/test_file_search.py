"""`file.search` and `file.find` over every endpoint: names, lines, limits, what is ignored and what is skipped."""

import os
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.contract.endpoints import PATIENCE_SECONDS, Client, StreamEnded

from ptybridge.api import file, find
from ptybridge.errors import FileNotFound, InvalidParams, NotADirectory
from ptybridge.service import find as service

TREE = {
    "a.py": "import os\nx = 1\nprint(x)\n",
    "b.txt": "nothing\n",
    "sub/c.py": "X = 2\n",
    "sub/deep/d.py": "y = 3\n",
    "build/out.py": "x = 4\n",
    "sub/keep.log": "x\n",
    "sub/drop.log": "x\n",
    ".hidden/e.py": "x = 5\n",
    ".git/config": "x\n",
    ".gitignore": "build/\n*.log\n# a comment\n",
    "sub/.gitignore": "!keep.log\n/deep/*.pyc\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name, text in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "binary.py").write_bytes(b"x = \0")
    (root / "loop").symlink_to(".")
    return root


def names(found: file.FileMatches, tree: Path) -> list[str]:
    return [str(Path(one.entry.path).relative_to(tree)) for one in found.matches]


async def search(client: Client, tree: Path, **params: object) -> list[str]:
    return names(await client.call(file.SEARCH, path=str(tree), **params), tree)


async def test_names(client: Client, tree: Path) -> None:
    assert await search(client, tree, glob="*.py") == ["a.py", "binary.py", "sub/c.py", "sub/deep/d.py"]
    assert await search(client, tree, glob="sub/*.py") == ["sub/c.py"]
    assert await search(client, tree, glob="sub/**/*.py") == ["sub/c.py", "sub/deep/d.py"]
    assert await search(client, tree, glob="**/d.py") == ["sub/deep/d.py"]
    assert await search(client, tree, glob="[!a].???") == ["b.txt"]
    assert await search(client, tree, glob="*.PY", max_depth=1) == []
    assert await search(client, tree, glob="*.PY", max_depth=1, ignore_case=True) == ["a.py", "binary.py"]
    assert await search(client, tree, glob="loop") == ["loop"]


async def test_ignored_and_hidden(client: Client, tree: Path) -> None:
    assert await search(client, tree, glob="*.log") == ["sub/keep.log"]
    assert await search(client, tree, glob="*.log", ignore=False) == ["sub/drop.log", "sub/keep.log"]
    assert await search(client, tree, glob="out.py") == []
    assert await search(client, tree, glob="e.py", hidden=True) == [".hidden/e.py"]
    assert await search(client, tree, glob="config", hidden=True) == []
    assert await search(client, tree, glob="config", hidden=True, ignore=False) == [".git/config"]


async def test_lines_with_their_neighbours(client: Client, tree: Path) -> None:
    found = await client.call(file.SEARCH, path=str(tree), pattern=r"^x\b", glob="*.py", context_lines=1)
    [match] = found.matches
    [line] = match.lines
    assert (line.number, line.text, line.before, line.after) == (2, "x = 1", ["import os"], ["print(x)"])
    assert (found.searched_files, found.skipped, found.truncated) == (3, 1, False)
    assert await search(client, tree, pattern=r"^x\b", glob="*.py", ignore_case=True) == ["a.py", "sub/c.py"]
    with pytest.raises(InvalidParams, match="regular expression"):
        await client.call(file.SEARCH, path=str(tree), pattern="(")


async def test_limits_are_told(client: Client, tree: Path) -> None:
    (tree / "many").write_text("hit\n" * 10)
    found = await client.call(file.SEARCH, path=str(tree), pattern="hit", max_results=4, context_lines=2)
    assert ([one.number for one in found.matches[0].lines], found.truncated) == ([1, 2, 3, 4], True)
    assert found.matches[0].lines[3].after == ["hit", "hit"]
    found = await client.call(file.SEARCH, path=str(tree), pattern="hit", max_results=10)
    assert (len(found.matches[0].lines), found.truncated) == (10, False)
    found = await client.call(file.SEARCH, path=str(tree), glob="*.py", max_results=4)
    assert (len(found.matches), found.truncated) == (4, False)
    found = await client.call(file.SEARCH, path=str(tree), glob="*.py", max_results=3)
    assert (len(found.matches), found.truncated) == (3, True)


async def test_what_cannot_be_searched(client: Client, tree: Path) -> None:
    with pytest.raises(FileNotFound):
        await client.call(file.SEARCH, path=str(tree / "none"))
    with pytest.raises(NotADirectory):
        await client.call(file.SEARCH, path=str(tree / "a.py"))


async def events_of(client: Client, tree: Path, **params: object) -> list[Any]:
    events: list[Any] = []
    async with client.stream(find.FIND, path=str(tree), **params) as stream:
        assert stream.opened.path == str(tree)
        try:
            while True:
                events.append(await stream.next())
        except StreamEnded as ended:
            assert str(ended) == "finished"  # noqa: PT017 - where it ends is what counts
    return events


async def test_the_stream_tells_what_the_call_answers(client: Client, tree: Path) -> None:
    for params in ({"pattern": r"\bx\b", "context_lines": 1}, {"glob": "*.py", "max_results": 3}, {"hidden": True}):
        whole = await client.call(file.SEARCH, path=str(tree), **params)
        *found, last = await events_of(client, tree, **params)
        assert [(one.entry, one.lines) for one in found if isinstance(one, find.FileFound)] == [
            (one.entry, one.lines) for one in whole.matches
        ]
        told = (whole.truncated, whole.searched_files, whole.skipped)
        assert (last.truncated, last.searched_files, last.skipped) == told
    with pytest.raises(FileNotFound):
        await events_of(client, tree / "none")
    with pytest.raises(InvalidParams):
        await events_of(client, tree, pattern="(")


async def test_what_is_found_is_told_before_the_search_is_over(
    client: Client, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "TURN_SECONDS", 0.0)
    os.mkfifo(tree / "pipe")
    (tree / "zzz").mkdir()
    for number in range(50):
        (tree / "zzz" / f"{number:03}.py").write_text("z = 1\n")
    async with client.stream(find.FIND, path=str(tree), pattern="^[xz] = 1$", glob="*.py") as stream:
        first = await stream.next()
        while not isinstance(first, find.FileFound):
            first = await stream.next()
        assert first.entry.name == "a.py"
        # Whoever leaves ends the search, with all it holds open.
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            if not any(one.endswith("/zzz") for one in _open_paths()):
                return
            await trio.sleep(0.01)


def _open_paths() -> list[str]:
    """Return what this process, which is the daemon as well, has open."""
    paths = []
    for name in os.listdir("/proc/self/fd"):
        try:
            paths.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return paths
