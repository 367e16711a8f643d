"""A node for the tests of this directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.survival.harness import Node


@pytest.fixture
def node(runtime_dir: Path) -> Iterator[Node]:
    node = Node(runtime_dir)
    yield node
    node.close()
