"""`service`: ptybridge as services of systemd."""

import os
import subprocess
from pathlib import Path
from typing import Final

import click

from ptybridge.api.node import INFO, GetInfo
from ptybridge.cli import output
from ptybridge.cli.app import App
from ptybridge.cli.command import command
from ptybridge.cli.exits import EXIT_FAILURE
from ptybridge.cli.service_units import Target, files, target
from ptybridge.errors import Conflict, DaemonUnreachable, Denied, PtybridgeError, Unavailable
from ptybridge.sdk.service import lingers

SYSTEMCTL_SECONDS: Final = 90
_SHOWN: Final = "Id,LoadState,UnitFileState,ActiveState,SubState,MainPID,StatusText"
_COLOURS: Final = {"active": "green", "failed": "red"}


@command(
    "service",
    example="""
    ptybridge service install --now
    ptybridge service status
    sudo ptybridge service install --system --for build --now
    ptybridge service uninstall
    """,
    exits="""
    0 done, for status: the service is installed and runs; 1 for status: it is not;
    4 without systemd; 5 when something is in the way
    """,
)
@click.argument("action", type=click.Choice(["install", "status", "uninstall"]))
@click.option("--system", is_flag=True, help="In the system's service manager, not your own.")
@click.option("--for", "name", metavar="USER", help="With --system: whose daemon it is, by default yours.")
@click.option("--now", is_flag=True, help="Also start it.")
def service_command(app: App, action: str, system: bool, name: str | None, now: bool) -> int:
    """Let systemd run the daemon and the keeper: from your login on, or with --system from boot on.

    Sessions are kept by a service of their own, so that the daemon's can be restarted at any time. Your services end
    when you log out, unless you `loginctl enable-linger`.
    """
    if name is not None and not system:
        raise click.UsageError("--for goes with --system")
    where = target(system=system, name=name)
    _require_systemd(where)
    if action == "install":
        return _install(app, where, now=now)
    if action == "uninstall":
        return _uninstall(app, where)
    return _status(app, where)


def _install(app: App, where: Target, *, now: bool) -> int:
    if now:
        _require_free(app, where)
    wanted = files(where, app.loaded)
    try:
        for path, text in wanted.items():
            _write(path, text)
    except PermissionError as exc:
        raise Denied(f"cannot write {exc.filename}", hint="--system is for root") from exc
    _systemctl(where, "daemon-reload")
    _systemctl(where, "enable", "--quiet", where.socket, where.daemon)
    if now:
        _systemctl(where, "start", where.socket, where.daemon)
    linger = lingers(where.name)
    if app.json:
        app.emit({"installed": [str(path) for path in wanted], "started": now, "linger": linger})
        return 0
    print(f"installed {', '.join(path.name for path in wanted)} in {where.directory}")
    later = "it starts with the system" if where.system else "log in anew"
    print("it runs now" if now else f"start it with `{_command(where, 'start', where.daemon)}`, or {later}")
    if where.system:
        print(f"{where.name} reaches it with PTYBRIDGE_SOCKET=/run/ptybridge/{where.name}/daemon.sock")
    elif linger is False:
        print("it ends when you log out; `loginctl enable-linger` lets it stay")
    return 0


def _uninstall(app: App, where: Target) -> int:
    running = [unit for unit in (where.daemon, where.keeper) if _show(where, unit).get("ActiveState") == "active"]
    if running:
        raise Conflict(
            f"{' and '.join(running)} {'run' if len(running) > 1 else 'runs'}, perhaps with sessions",
            hint="`ptybridge stop` ends them; then uninstall",
        )
    removed = [path for path in files(where, app.loaded) if path.exists()]
    if removed:
        # The template itself cannot be disabled for one user while others use it.
        web = [path.name for path in removed if path.name == "ptybridge-web.socket"]
        _systemctl(where, "disable", "--quiet", "--now", where.socket, where.daemon, *web)
        if others := _other_users(where):
            if app.json:
                app.emit({"removed": [], "others": others})
            else:
                print(f"disabled for {where.name}; the units stay for {', '.join(others)}")
            return 0
    for path in removed:
        path.unlink()
    _systemctl(where, "daemon-reload")
    if app.json:
        app.emit({"removed": [str(path) for path in removed]})
    elif removed:
        print(f"removed {', '.join(path.name for path in removed)} from {where.directory}")
    else:
        print("it was not installed")
    return 0


def _other_users(where: Target) -> list[str]:
    """Return for whom else the system's service manager runs or starts a daemon from the same files."""
    if not where.system:
        return []
    units = [path.name for path in where.directory.glob("*.wants/ptybridge@*.*")]
    listed = _run(where, "list-units", "--plain", "--no-legend", "ptybridge@*", "ptybridge-keeper@*").stdout
    units += [line.split()[0] for line in listed.splitlines() if line.strip()]
    return sorted({unit.partition("@")[2].rpartition(".")[0] for unit in units} - {where.name})


def _status(app: App, where: Target) -> int:
    found = [_show(where, unit) for unit in where.units]
    healthy = all(one.get("ActiveState") == "active" for one in found)
    linger = lingers(where.name)
    if app.json:
        app.emit({"units": found, "linger": linger, "system": where.system})
        return 0 if healthy else EXIT_FAILURE
    rows = []
    for one in found:
        installed = one.get("LoadState") == "loaded"
        state = f"{one['ActiveState']} ({one['SubState']})" if installed else "not installed"
        pid = one.get("MainPID", "0")
        rows.append(
            [
                (one["Id"], "bold"),
                (state, _COLOURS.get(one.get("ActiveState", ""), "dim")),
                (one.get("UnitFileState") or "-", ""),
                (pid if pid != "0" else "-", ""),
                (one.get("StatusText", ""), ""),
            ]
        )
    print(*output.table(("UNIT", "STATE", "STARTS", "PID", "SAYS"), rows, ("PID", "STARTS")), sep="\n")
    if not where.system and linger is not None:
        print(f"linger is {'on: it stays when you log out' if linger else 'off: it ends when you log out'}")
    return 0 if healthy else EXIT_FAILURE


# -- systemd ------------------------------------------------------------------------------------------------


def _require_systemd(where: Target) -> None:
    advice = "without it, the daemon starts by itself when a command needs it, and starts its keeper"
    try:
        result = _run(where, "show", "--property=Version")
    except FileNotFoundError as exc:
        raise Unavailable("there is no systemd here (no systemctl)", hint=advice) from exc
    if result.returncode:
        whose = "the system's" if where.system else "your"
        if not where.system:
            advice += "; `service install --system` needs no manager of your own"
        raise Unavailable(f"{whose} systemd does not answer: {_last_line(result.stderr)}", hint=advice)


def _require_free(app: App, where: Target) -> None:
    """A daemon that was started by hand has its own keeper; the service's sockets would take its place."""
    if where.system or _show(where, where.socket).get("ActiveState") == "active":
        return
    try:
        with app.reconnect() as connection:
            pid = connection.call(INFO, GetInfo(), 5).pid
    except DaemonUnreachable as exc:
        if not exc.data.get("kept"):
            return
        raise Conflict("a keeper that was not started by systemd has sessions", hint=_STOP_FIRST) from exc
    except PtybridgeError:
        return
    raise Conflict(f"a daemon (pid {pid}) that was not started by systemd runs", hint=_STOP_FIRST)


_STOP_FIRST: Final = (
    "end it and its sessions with `ptybridge stop`, and try again; or leave --now out: the service starts "
    "with your next login"
)


def _systemctl(where: Target, *arguments: str) -> None:
    result = _run(where, *arguments)
    if result.returncode:
        raise Unavailable(
            f"`{_command(where, *arguments)}` failed: {_last_line(result.stderr)}",
            hint=f"`{'' if where.system else 'systemctl --user status '}{where.daemon}` and the journal tell more",
        )


def _show(where: Target, unit: str) -> dict[str, str]:
    result = _run(where, "show", f"--property={_SHOWN}", unit)
    return dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)


def _run(where: Target, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemctl", *([] if where.system else ["--user"]), "--no-pager", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=SYSTEMCTL_SECONDS,
    )


def _command(where: Target, *arguments: str) -> str:
    return " ".join(["systemctl", *([] if where.system else ["--user"]), *arguments])


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    os.chmod(fresh, 0o644)
    os.replace(fresh, path)
