"""The daemon and its keeper raise their limit on open files; what they start gets the one they began with."""

import contextlib
import resource
from collections.abc import Iterator
from functools import partial

import pytest
from tests.survival.harness import Node, eventually

from ptybridge.errors import PtybridgeError

SOFT = 700


@pytest.fixture
def limited() -> Iterator[int]:
    """Start daemons with a low soft limit; return the hard one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def limit_of_a_child(node: Node, backend: str) -> int:
    session = node.create(["sh", "-c", "ulimit -Sn"], backend=backend)
    node.call("session.wait", session_id=session, until=[{"exit": True}])
    return int(node.read_all(session))


def ended(node: Node, session: str) -> bool:
    """Whether a daemon answers that does not know this session."""
    with contextlib.suppress(PtybridgeError):
        return session not in str(node.call("session.list"))
    return False


def soft_limit(pid: int) -> int:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]


@pytest.mark.parametrize("backend", ["pty", "pipes"])
def test_children_get_the_limit_of_before_through_hand_over_and_a_new_keeper(
    node: Node, limited: int, backend: str
) -> None:
    most = min(limited, 1 << 20)
    node.start()
    keeper = node.keeper_pid()
    assert (soft_limit(node.pid), soft_limit(keeper)) == (most, most)
    assert limit_of_a_child(node, backend) == SOFT
    for sessions in (1, 2):
        node.call("node.restart")
        node.reap(node.pid)
        node.wait_serving()
        before = node.kill_keeper()
        keeper = node.wait_kept(sessions, but=before)
        assert (soft_limit(node.pid), soft_limit(keeper)) == (most, most)
        assert limit_of_a_child(node, backend) == SOFT


@pytest.mark.parametrize("backend", ["pty", "pipes"])
def test_without_a_keeper_too_and_after_a_restart(node: Node, limited: int, backend: str) -> None:
    pid = node.start(env={"PTYBRIDGE_DAEMON_KEEPER": "false"})
    for _ in range(2):
        assert soft_limit(pid) == min(limited, 1 << 20)
        assert limit_of_a_child(node, backend) == SOFT
        node.call("session.close_all")
        session = node.create(["cat"])
        node.call("node.restart")
        # The same process becomes the next daemon; it is there when the session is not.
        eventually(partial(ended, node, session))
        node.wait_serving(pid)
