"""`service` with a systemctl that does what the test says; tests/systemd runs it under a real manager."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ptybridge.cli import service_units
from ptybridge.cli.app import App
from ptybridge.cli.service import _install, _uninstall

COMMAND = [sys.executable, "-m", "ptybridge"]
# Notes what it is called with; `show UNIT` says what the file `state` holds.
SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$FAKE/calls"
case "$*" in
*" show "*Version*) [ -e "$FAKE/silent" ] && { echo "Failed to connect to bus: No medium found" >&2; exit 1; } ;;
*" list-units "*) cat "$FAKE/listed" ;;
*" show "*) for unit; do :; done; echo "Id=$unit"; cat "$FAKE/state" ;;
esac
exit 0
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "fake"
    directory.mkdir()
    (directory / "systemctl").write_text(SYSTEMCTL)
    (directory / "systemctl").chmod(0o755)
    (directory / "listed").touch()
    (directory / "state").write_text("LoadState=not-found\nActiveState=inactive\nSubState=dead\n")
    monkeypatch.setenv("FAKE", str(directory))
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return directory


def service(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [*COMMAND, "service", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def calls(fake: Path) -> list[str]:
    return [line for line in (fake / "calls").read_text().splitlines() if " show " not in line]


def test_install_writes_the_units_and_enables_them(fake: Path) -> None:
    said = service("install")
    directory = Path(os.environ["XDG_CONFIG_HOME"]) / "systemd/user"
    assert sorted(path.name for path in directory.iterdir()) == [
        "ptybridge-keeper.service", "ptybridge-web.socket", "ptybridge.service", "ptybridge.socket",
    ]  # fmt: skip
    assert (
        f"ExecStart={sys.executable} -P -m ptybridge serve --service" in (directory / "ptybridge.service").read_text()
    )
    assert calls(fake) == [
        "--user --no-pager daemon-reload",
        "--user --no-pager enable --quiet ptybridge.socket ptybridge.service",
    ]
    assert "start it with `systemctl --user start ptybridge.service`" in said
    service("install", "--now")
    assert calls(fake)[-1] == "--user --no-pager start ptybridge.socket ptybridge.service"


def test_one_users_system_service_does_not_go_with_anothers(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "system"
    directory.mkdir()
    monkeypatch.setattr(service_units, "SYSTEM_DIRECTORY", directory)
    app = App()
    ann = service_units.target(system=True, name="ann")
    assert _install(app, ann, now=False) == 0
    assert "or it starts with the system" in capsys.readouterr().out
    installed = sorted(directory.iterdir())
    assert len(installed) == 3
    # Bob's starts with the system; Eve's only runs.
    (directory / "multi-user.target.wants").mkdir()
    link = directory / "multi-user.target.wants/ptybridge@bob.service"
    link.symlink_to(directory / "ptybridge@.service")
    (fake / "listed").write_text("ptybridge-keeper@eve.service loaded active running a keeper\n")
    assert _uninstall(app, ann) == 0
    assert "the units stay for bob, eve" in capsys.readouterr().out
    assert "--no-pager disable --quiet --now ptybridge@ann.socket ptybridge@ann.service" in calls(fake)
    assert all(path.exists() for path in installed)
    link.unlink()
    (fake / "listed").write_text("")
    assert _uninstall(app, ann) == 0
    assert not any(path.exists() for path in installed)


def test_install_now_does_not_push_a_running_daemon_aside(fake: Path) -> None:
    subprocess.run([*COMMAND, "new", "-d", "--", "cat"], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    try:
        assert "that was not started by systemd runs" in service("install", "--now", code=5)
    finally:
        subprocess.run([*COMMAND, "stop"], check=True, capture_output=True, stdin=subprocess.DEVNULL)


def test_status(fake: Path) -> None:
    assert "not installed" in service("status", code=1)
    (fake / "state").write_text(
        "LoadState=loaded\nUnitFileState=enabled\nActiveState=active\nSubState=running\nMainPID=7\nStatusText=Serving\n"
    )
    assert "active (running)  enabled  7    Serving" in service("status")
    units = json.loads(service("status", "--json"))["units"]
    assert [one["Id"] for one in units] == ["ptybridge.socket", "ptybridge-keeper.service", "ptybridge.service"]


def test_uninstall_removes_what_install_wrote_but_not_under_a_running_service(fake: Path) -> None:
    service("install")
    (fake / "state").write_text("LoadState=loaded\nActiveState=active\nSubState=running\n")
    assert "`ptybridge stop` ends them" in service("uninstall", code=5)
    (fake / "state").write_text("LoadState=loaded\nActiveState=inactive\nSubState=dead\n")
    assert "removed ptybridge-keeper.service" in service("uninstall")
    assert list((Path(os.environ["XDG_CONFIG_HOME"]) / "systemd/user").iterdir()) == []
    assert "it was not installed" in service("uninstall")


def test_without_a_manager_it_says_what_happens_instead(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fake / "silent").touch()
    assert "your systemd does not answer: Failed to connect to bus" in service("install", code=4)
    monkeypatch.setenv("PATH", "/nonexistent")
    said = service("status", code=4)
    assert "there is no systemd here (no systemctl)" in said
    assert "the daemon starts by itself when a command needs it" in said


def test_for_goes_with_system(fake: Path) -> None:
    assert "--for goes with --system" in service("install", "--for", "ann", code=2)


def test_autostart_leaves_the_start_to_systemd(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ptybridge.config import load
    from ptybridge.sdk import service as sdk_service

    socket = load(os.environ).config.paths.socket
    assert sdk_service.unit_file(socket) is None
    assert not sdk_service.start(socket, 5)
    service("install")
    assert sdk_service.start(socket, 5)
    assert calls(fake)[-1] == "--user start ptybridge.service"
    assert sdk_service.unit_file("/elsewhere/daemon.sock") is None
    assert not sdk_service.start("/elsewhere/daemon.sock", 5)
