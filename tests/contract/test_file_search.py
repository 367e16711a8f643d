"""`file.search` over every endpoint: names, lines, limits, what is ignored and what is skipped."""

from pathlib import Path

import pytest
from tests.contract.endpoints import Client

from ptybridge.api import file
from ptybridge.errors import FileNotFound, InvalidParams, NotADirectory

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
