"""The web front across daemons: the same port after a crash, and nobody refused during a restart."""

import http.client
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

from tests.survival.harness import Node, eventually, reserved_port, wait_gone

from ptybridge.sdk.blocking import connect

PATIENCE_SECONDS = 60.0


def address(node: Node) -> str:
    with connect(node.socket, PATIENCE_SECONDS) as connection:
        return str(connection.call_raw("web.open", {}, timeout=PATIENCE_SECONDS)["addresses"][0])


def where(node: Node) -> list[str]:
    with connect(node.socket, PATIENCE_SECONDS) as connection:
        return list(connection.call_raw("web.status", {}, timeout=PATIENCE_SECONDS)["addresses"])


def health(at: str) -> int:
    """Ask, on a connection of its own; raises `OSError` when nobody listens."""
    host, _, port = at.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    finally:
        connection.close()


def ask_meanwhile(at: str, do: Callable[[], object]) -> tuple[int, list[OSError]]:
    """Ask again and again while `do` runs; return how often that was answered, and who was refused a connection."""
    refused: list[OSError] = []
    answered = 0
    over = threading.Event()

    def ask() -> None:
        nonlocal answered
        while not over.is_set():
            try:
                answered += health(at) == 200
            except ConnectionRefusedError as exc:
                refused.append(exc)
            except (OSError, http.client.HTTPException):
                pass  # it was on its way through the old daemon as that went

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        do()
    finally:
        over.set()
        thread.join(PATIENCE_SECONDS)
    return answered, refused


def test_nobody_is_refused_during_a_restart(node: Node) -> None:
    old = node.start(env={"PTYBRIDGE_WEB_PORT": "0"})
    at = address(node)

    def restart() -> None:
        with connect(node.socket, PATIENCE_SECONDS) as connection:
            connection.call_raw("node.restart", {}, timeout=PATIENCE_SECONDS)
        node.wait_serving()
        eventually(lambda: node.pid != old and where(node) == [at], "the new daemon to listen")
        assert health(at) == 200

    answered, refused = ask_meanwhile(at, restart)
    assert node.pid != old
    assert answered
    assert refused == []


def test_the_port_is_the_same_after_a_crash_until_it_is_stopped(node: Node) -> None:
    with reserved_port() as port:
        node.start(env={"PTYBRIDGE_WEB_PORT": port})
        at = address(node)
        node.kill()
        node.start()
        # It answers on its socket a moment before it listens for browsers.
        eventually(lambda: where(node) == [at], "the same port")
    assert health(at) == 200
    with connect(node.socket, PATIENCE_SECONDS) as connection:
        connection.call_raw("node.shutdown", {}, timeout=PATIENCE_SECONDS)
    wait_gone(node.pid)
    node.start()
    assert where(node) == []


def test_a_port_that_is_taken_is_left_to_its_owner(node: Node) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        node.start(env={"PTYBRIDGE_WEB_PORT": str(port)})
        at = address(node)
        assert int(at.rpartition(":")[2]) > port
        assert f"port {port} is taken by " in node.log()
        assert f"(pid {os.getpid()})" in node.log()
        assert health(at) == 200


def test_s07_a_front_that_others_could_reach_is_refused_at_the_start(node: Node) -> None:
    command = [sys.executable, "-m", "ptybridge", "serve", "--host", "0.0.0.0"]
    refused = subprocess.run(command, env=node.env, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert refused.returncode != 0
    assert "no certificate" in refused.stderr
    assert "ptybridge cert" in refused.stderr
