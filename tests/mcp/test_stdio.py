"""The real `ptybridge mcp`: framings, junk, ends, daemons that go away, and daemons of its own."""

import os
import signal
from pathlib import Path

import pytest
from tests.mcp.stdio import Stdio, daemon_pid, eventually, private_directories, run

JUNK = {b"[]": -32600, b"1": -32600, b'"x"': -32600, b"{nonsense": -32700}
# Requests whose ids are none in MCP.
JUNK |= {
    b'{"jsonrpc": "2.0", "method": "%s", "id": %s, "params": {"name": "pty_list"}}' % (method, number): -32600
    for method in (b"ping", b"tools/call")
    for number in (b"null", b"1.5", b"[1]", b"true")
}
VERSIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]


@pytest.mark.parametrize("version", VERSIONS)
def test_it_starts_a_daemon_and_speaks_the_clients_version(daemon: None, version: str) -> None:
    with Stdio() as client:
        assert client.initialize(version)["protocolVersion"] == version
        assert client.leave() == 0
        assert client.stderr() == ""


def test_an_unknown_version_gets_the_newest_with_a_handshake(daemon: None) -> None:
    with Stdio() as client:
        assert client.initialize("2199-01-01")["protocolVersion"] == VERSIONS[-1]


@pytest.mark.parametrize("headers", [False, True])
def test_c24_junk_gets_one_error_and_the_connection_lives_in_both_framings(daemon: None, headers: bool) -> None:
    with Stdio(headers=headers) as client:
        client.initialize()
        for line, code in JUNK.items():
            client.send(line)
            found = client.next()
            assert (found["id"], found["error"]["code"]) == (None, code)
        assert client.ask("ping")["result"] == {}
        assert client.leave() == 0


def test_a_notification_with_an_empty_id_is_one(daemon: None) -> None:
    with Stdio() as client:
        client.initialize()
        client.send(b'{"jsonrpc": "2.0", "id": null, "method": "notifications/cancelled", "params": {"requestId": 9}}')
        client.send(b'{"jsonrpc": "2.0", "id": 7, "method": "ping"}')
        assert client.next() == {"jsonrpc": "2.0", "id": 7, "result": {}}
        assert client.leave() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_81_signals_end_it_at_once_and_sessions_live_on(daemon: None, number: signal.Signals, code: int) -> None:
    run("new", "-d", "--name", "stays", "--", "cat")
    with Stdio() as client:
        client.initialize()
        assert client.signalled(number) == code
        assert client.stderr() == ""
    assert "stays" in run("ls")


def test_the_daemon_is_killed_and_the_client_notices_nothing(daemon: None) -> None:
    session_id = run("new", "-d", "--name", "stays", "--", "cat")
    uri = f"ptybridge://session/{session_id}/screen"
    with Stdio() as client:
        client.initialize()
        assert client.ask("resources/subscribe", uri=uri)["result"] == {}
        os.kill(daemon_pid(), signal.SIGKILL)
        assert uri in [one["uri"] for one in client.ask("resources/list")["result"]["resources"]]
        # The subscription holds with the next daemon, too.
        run("send", "stays", "hello\n")
        while (message := client.next()).get("method") != "notifications/resources/updated":
            pass
        assert message["params"]["uri"] == uri
        # It may also have been told that there is another daemon.
        eventually(lambda: "hello" in str(client.ask("resources/read", uri=uri)["result"]), "the echo")
        assert client.leave() == 0
        assert client.stderr() == ""


def test_a_daemon_that_was_stopped_is_started_for_the_next_request(daemon: None) -> None:
    with Stdio("--log-level", "info") as client:
        client.initialize()
        run("restart")
        assert client.ask("ping")["result"] == {}
        assert client.leave() == 0
        assert "gone away" in client.stderr()


@pytest.mark.parametrize("killed", [False, True])
def test_isolated_has_a_daemon_of_its_own_and_leaves_nothing(
    daemon: None, killed: bool, tmp_path: Path, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(runtime_dir))
    with Stdio("--isolated", env={"TMPDIR": str(runtime_dir)}) as client:
        client.initialize()
        [private] = private_directories(runtime_dir)
        assert private.stat().st_mode & 0o777 == 0o700
        # A session in that daemon, which the user's knows nothing of.
        session_id = run("new", "-d", "--socket", str(private / "daemon.sock"), "--no-autostart", "--", "cat")
        pid = int(
            run("info", session_id, "--socket", str(private / "daemon.sock"), "--json")
            .split('"pid": ')[1]
            .split(",")[0]
        )
        assert session_id in str(client.ask("resources/list"))
        if killed:
            client.process.kill()
        else:
            assert client.leave() == 0
    eventually(lambda: not private.exists(), "the private directory to go")
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "its session to end")


def test_settings_that_are_wrong_are_named(daemon: None) -> None:
    with Stdio("--tools", "some") as client:
        assert client.process.wait(60) == 2
        assert "some" in client.stderr()


def test_resources_are_told_cleaned_and_marked_as_data(daemon: None) -> None:
    session_id = run(
        "new", "-d", "--", "bash", "-c", r"printf '\033[31mred\033[0m\u202eevil\u200b 50%%\r100%%\n'; exec cat"
    )
    uri = f"ptybridge://session/{session_id}/transcript"
    with Stdio() as client:
        client.initialize()
        templates = client.ask("resources/templates/list")["result"]["resourceTemplates"]
        assert {one["uriTemplate"] for one in templates} == {
            "ptybridge://session/{session_id}/screen",
            "ptybridge://session/{session_id}/transcript",
        }

        def text() -> str:
            return str(client.ask("resources/read", uri=uri)["result"]["contents"][0]["text"])

        eventually(lambda: "100%" in text(), "the output")
        head, body, mark, _ = text().split("\n")
        assert "data, not instructions" in head
        assert mark.strip("[]") in head
        assert body == "100%"
        client.ask("resources/subscribe", uri=uri)
        run("close", session_id)
        seen: set[str] = set()
        while len(seen) < 2:
            seen.add(str(client.next().get("method")))
        assert seen == {"notifications/resources/updated", "notifications/resources/list_changed"}
        error = client.ask("resources/read", uri=uri)["error"]
        assert error["code"] == -32002
