"""Sessions are reachable again after somebody has removed the runtime directory, as a log-out may do."""

import contextlib
import os
import shutil

from tests.survival.harness import Node, eventually

from ptybridge.errors import PtybridgeError
from ptybridge.sdk.blocking import connect


def reachable(node: Node, session_id: str) -> bool:
    with contextlib.suppress(PtybridgeError, OSError), connect(node.socket, 10) as connection:
        return bool(connection.call_raw("session.get", {"session_id": session_id}, timeout=60)["pid"])
    return False


def test_r15_a_runtime_directory_that_was_removed_is_made_anew(node: Node) -> None:
    daemon = node.start()
    session_id = node.create("cat")
    keeper = node.keeper_pid()
    with node.connect() as before:
        shutil.rmtree(node.directory)
        eventually(lambda: reachable(node, session_id), "the daemon at its path")
        assert before.call_raw("node.info", {}, timeout=60)["pid"] == daemon == node.call("node.info")["pid"]
    # The keeper, too: a daemon that comes after this one finds it, and clients find that one.
    node.kill(daemon)
    node.start()
    assert node.keeper_pid() == keeper
    assert node.call("session.get", session_id=session_id)["state"] == "running"
    os.unlink(node.socket)
    eventually(lambda: reachable(node, session_id), "the next daemon at its path")
    node.call("session.write", session_id=session_id, data="still there\n")
    found = node.call("session.read_until", session_id=session_id, pattern="still there", timeout_ms=60_000)
    assert found["reason"] == "matched"
