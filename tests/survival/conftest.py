"""A node for the tests of this directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.survival.harness import SOURCE, Node


@pytest.fixture
def node(runtime_dir: Path) -> Iterator[Node]:
    node = Node(runtime_dir)
    yield node
    node.close()


@pytest.fixture
def linked(node: Node) -> Node:
    """The node with a package that can be exchanged."""
    link = node.directory.parent / "installed"
    link.symlink_to(SOURCE)
    node.env["PYTHONPATH"] = str(link)
    return node
