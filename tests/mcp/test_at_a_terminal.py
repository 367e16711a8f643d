"""What a person does for an agent at a real terminal: type a secret nobody else sees, and answer what it asks."""

import contextlib
import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ptyprocess import PtyProcess
from tests.mcp.stdio import PATIENCE_SECONDS, PROGRAM, Stdio, eventually, run

ME = {"owner": "me"}
# No other test's: what runs beside this one is looked at, too.
VALUE = "Purple7-monkey-dishwasher"
ASKS = "stty -echo; printf 'Password: '; read p; stty echo; echo; echo \"got $p\"; exec cat"
# Nothing there to lose.
DANGEROUS = "rm -rf /no-such-place-of-ptybridge"


class Terminal:
    """Bash with a history, behind a terminal of its own."""

    def __init__(self, home: Path) -> None:
        self.history = home / "history"
        program = f'ptybridge() {{ {shlex.join(PROGRAM)} "$@"; }}'
        (home / "rc").write_text(f"PS1='user$ '\nHISTFILE={self.history}\n{program}\n")
        self._process = PtyProcess.spawn(["bash", "--noprofile", "--rcfile", str(home / "rc"), "-i"])
        self.seen = b""
        self.see("user$ ")

    def see(self, text: str, count: int = 1) -> None:
        """Wait until a text has been shown so many times."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.seen.count(text.encode()) < count:
            assert time.monotonic() < deadline, self.seen
            self.seen += os.read(self._process.fd, 65536)

    def type(self, line: str) -> None:
        """Type a line and Enter."""
        os.write(self._process.fd, line.encode() + b"\r")

    def leave(self) -> None:
        """End the shell, which writes its history."""
        self.type("exit")
        with contextlib.suppress(OSError):
            while data := os.read(self._process.fd, 65536):
                self.seen += data
        self._process.wait()

    def close(self) -> None:
        self._process.close(force=True)


@pytest.fixture
def terminal(isolated_environment: None, tmp_path: Path) -> Iterator[Terminal]:
    it = Terminal(tmp_path)
    yield it
    it.close()


def in_command_lines(value: bytes) -> list[str]:
    """Return the processes that show it to `ps`, in their arguments or their environment."""
    found = []
    for name in os.listdir("/proc"):
        for file in ("cmdline", "environ") if name.isdecimal() else ():
            with contextlib.suppress(OSError):
                if value in Path("/proc", name, file).read_bytes():
                    found.append(f"{name}/{file}")
    return found


def in_files(value: bytes, *places: Path) -> list[Path]:
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if value in path.read_bytes()]


def test_a_secret_typed_at_a_terminal_is_seen_nowhere(
    daemon: None, terminal: Terminal, tmp_path: Path, runtime_dir: Path
) -> None:
    logs = tmp_path / "logs"
    with Stdio(env={"PTY_MCP_SESSION_LOG_DIR": str(logs)}) as client:
        client.initialize()
        session = client.call("pty_spawn", command=ASKS, **ME)["content"][0]["text"]
        client.call("pty_read_until", session_id=session, pattern="Password: ", **ME)
        arguments = {"session_id": session, "prompt": "sudo password of web1", **ME}
        params = {"name": "pty_send_secret", "arguments": arguments}
        client.send({"jsonrpc": "2.0", "id": "secret", "method": "tools/call", "params": params})
        eventually(lambda: "sudo password" in run("secrets"), "the request")
        terminal.type("ptybridge secrets give")
        terminal.see("sudo password of web1: ")
        terminal.type(VALUE)
        terminal.see("user$ ", 2)
        given = client.answer("secret")["result"]["structuredContent"]
        assert given == {"reason": "provided", "accepted_bytes": len(VALUE) + 1, "redacted": True}
        assert in_command_lines(VALUE.encode()) == []
        found = client.call("pty_read_until", session_id=session, pattern="got [redacted]\r\n", **ME)
        assert VALUE not in str(found)
        # The program did get it, and the person it belongs to may see it.
        eventually(lambda: f"got {VALUE}" in run("read", session), "the program to show it")
        terminal.type("history; ptybridge events --help >/dev/null; echo do''ne")
        terminal.see("done")
        client.call("pty_close", session_id=session, **ME)
        assert client.leave() == 0
    terminal.leave()
    assert "ptybridge secrets give" in terminal.history.read_text()
    assert VALUE.encode() not in terminal.seen
    run("stop")
    assert in_files(VALUE.encode(), tmp_path, runtime_dir) == []


@pytest.fixture
def human_decides(isolated_environment: None) -> None:
    place = Path(os.environ["XDG_CONFIG_HOME"], "ptybridge", "config.toml")
    place.parent.mkdir(parents=True)
    place.write_text('[policy]\nconfirm = "human"\n')


def ask(client: Stdio, **more: Any) -> Any:
    return client.call("pty_spawn", command=DANGEROUS, **ME, **more)


@pytest.mark.parametrize("allowed", [True, False])
def test_an_agent_waits_for_what_its_user_says_at_a_terminal(
    human_decides: None, daemon: None, terminal: Terminal, allowed: bool
) -> None:
    with Stdio() as client:
        client.initialize()
        assert ask(client)["isError"]
        arguments = {"command": DANGEROUS, "justification": "the disk is full", **ME}
        params = {"name": "confirm_dangerous_command", "arguments": arguments, "_meta": {"progressToken": "p"}}
        client.send({"jsonrpc": "2.0", "id": "confirm", "method": "tools/call", "params": params})
        told = client.next()
        while told.get("method") != "notifications/progress":
            told = client.next()
        assert "ptybridge approvals" in told["params"]["message"]
        terminal.type("ptybridge approvals")
        terminal.see("it says: the disk is full")
        terminal.see("user$ ", 2)
        assert DANGEROUS.encode() in terminal.seen
        approval = run("approvals").split()[0]
        terminal.type(f"ptybridge approvals {'allow' if allowed else 'deny'} {approval} --reason 'says me'")
        terminal.see("is allowed" if allowed else "is denied")
        answer = client.answer("confirm")["result"]["structuredContent"]
        assert (answer["ok"], answer["dangerous"]) == (allowed, True)
        if allowed:
            spawned = ask(client, dangerous_confirm_token=answer["confirm_token"])
            assert not spawned.get("isError"), spawned
            # Once.
            assert ask(client, dangerous_confirm_token=answer["confirm_token"])["isError"]
        else:
            assert "your user has denied it: says me" in answer["error"]
            assert ask(client)["isError"]
        assert client.leave() == 0
