"""What `doctor` says of tmux."""

import os
import socket
import subprocess
from pathlib import Path

import pytest
from tests.conftest import NeedTool

from ptybridge.cli.doctor_checks import Finding
from ptybridge.cli.doctor_tmux import look


def only(path: Path) -> Finding:
    (finding,) = look(str(path))
    return finding


def test_without_tmux_it_says_what_to_install(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(runtime_dir))
    finding = only(runtime_dir / "s")
    assert finding.level == "ok"
    assert "not installed" in finding.message
    assert "3.2 or later" in finding.message


def test_it_starts_no_server(runtime_dir: Path, need_tool: NeedTool) -> None:
    need_tool("tmux")
    finding = only(runtime_dir / "s")
    assert (finding.level, finding.message.startswith("tmux ")) == ("ok", True)
    assert "no server at" in finding.message
    assert not os.listdir(runtime_dir)


def test_it_counts_sessions_once(runtime_dir: Path, need_tool: NeedTool) -> None:
    tmux = [need_tool("tmux"), "-S", str(runtime_dir / "s"), "-f", os.devnull]
    subprocess.run([*tmux, "new-session", "-d", "-s", "a", "-n", "one", "cat"], check=True)
    try:
        for command in (["new-session", "-d", "-s", "b", "cat"], ["link-window", "-d", "-s", "b:0", "-t", "a:"]):
            subprocess.run([*tmux, *command], check=True)
        finding = only(runtime_dir / "s")
        assert finding.level == "ok"
        assert finding.message.endswith("answers, sessions in it: 2")
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)


def test_a_server_that_does_not_answer_is_a_failure(
    runtime_dir: Path, need_tool: NeedTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_tool("tmux")
    monkeypatch.setattr("ptybridge.cli.doctor_tmux.ANSWER_SECONDS", 0.5)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(runtime_dir / "s"))
        silent.listen()
        finding = only(runtime_dir / "s")
    assert finding.level == "fail"
    assert "does not answer" in finding.message
    assert "kill-server" in finding.advice
