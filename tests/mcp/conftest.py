"""A daemon that starts when it is needed and is stopped after the test."""

import subprocess
from collections.abc import Iterator

import pytest
from tests.mcp.stdio import PROGRAM


@pytest.fixture
def daemon(isolated_environment: None) -> Iterator[None]:
    """The test's own daemon: commands start it, in the directories of the test."""
    yield
    subprocess.run([*PROGRAM, "stop"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
