"""`status`, `stop`, `restart` and `version`: the daemon as a whole."""

import os
import platform
import sys
import time
from typing import Final

import click
import msgspec

from ptybridge import __version__
from ptybridge.api.node import (
    HEALTH,
    INFO,
    RESTART,
    SHUTDOWN,
    GetHealth,
    GetInfo,
    NodeHealth,
    NodeInfo,
    Restart,
    Shutdown,
)
from ptybridge.cli import output
from ptybridge.cli.app import ANSWER_SECONDS, App, note
from ptybridge.cli.command import command
from ptybridge.cli.exits import EXIT_FAILURE, EXIT_UNREACHABLE
from ptybridge.errors import ConnectionLost, DaemonUnreachable, Unavailable
from ptybridge.sdk.blocking import Connection

# Sessions are ended within 8 s; then the process goes.
GONE_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.02


@command(
    "status",
    example="""
    ptybridge status
    ptybridge status --json | jq .pid
    """,
    exits="""
    0 when the daemon runs and is well, 1 when it is not well, 4 when there is none
    """,
)
def status_command(app: App) -> int:
    """Show whether the daemon runs and is well. Never starts it."""
    socket = app.config.paths.socket
    try:
        app.use(app.reconnect())
    except DaemonUnreachable as exc:
        if app.json:
            app.emit({"running": False, "socket": socket, "reason": exc.message})
        else:
            print(f"no daemon is running ({exc.message})")
        return EXIT_UNREACHABLE
    info = app.call(INFO, GetInfo())
    health = app.call(HEALTH, GetHealth())
    if app.json:
        fields = {**msgspec.to_builtins(info), "health": health}
        app.emit({"running": True, **fields})
    else:
        print(*output.pairs(_facts(info, health)), sep="\n")
    return 0 if health.ok else EXIT_FAILURE


def _facts(info: NodeInfo, health: NodeHealth) -> list[tuple[str, str]]:
    return [
        ("daemon", f"{'running' if health.ok else 'not well'}, pid {info.pid}, for {output.duration(info.uptime_ms)}"),
        ("version", f"{info.version} (protocol {info.protocol}, Python {info.python})"),
        ("socket", info.socket),
        ("machine", f"{info.user}@{info.hostname} ({info.platform})"),
        ("sessions", f"{info.sessions_running} running, {info.sessions - info.sessions_running} exited"),
        ("clients", str(info.clients)),
        ("keeper", _keeper(info)),
        ("open files", f"{health.open_files} of {health.open_files_limit}"),
        ("loop lag", f"{health.loop_lag_ms:.1f} ms"),
        *[("problem", problem) for problem in health.problems],
    ]


def _keeper(info: NodeInfo) -> str:
    if not info.keeper:
        return "no, sessions end with the daemon"
    pid = f"pid {info.keeper_pid}, version {info.keeper_version}, " if info.keeper_pid else ""
    return f"{pid}sessions outlive the daemon"


@command("stop", example="ptybridge stop")
def stop_command(app: App) -> int:
    """Stop the daemon and wait until it is gone. Running sessions are ended.

    That no daemon runs is no error.
    """
    try:
        connection = running_daemon(app)
    except DaemonUnreachable:
        if app.json:
            app.emit({"stopped": False})
        else:
            print("no daemon is running")
        return 0
    with connection:
        info = connection.call(INFO, GetInfo(), ANSWER_SECONDS)
        process = _watch(info.pid)
        connection.call(SHUTDOWN, Shutdown(), ANSWER_SECONDS)
        wait_for_end(connection)
    if process is not None:
        _wait_for_exit(process)
    if app.json:
        app.emit({"stopped": True, "pid": info.pid, "sessions_ended": info.sessions_running})
    else:
        print(f"stopped the daemon (pid {info.pid}){_ended(info.sessions_running)}")
    return 0


@command(
    "restart",
    example="""
    ptybridge restart
    ptybridge restart --yes
    """,
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def restart_command(app: App, yes: bool) -> int:
    """Replace the daemon by a fresh one, of the version that is installed now.

    Asks first when that ends running sessions.
    """
    with running_daemon(app) as connection:
        info = connection.call(INFO, GetInfo(), ANSWER_SECONDS)
        if info.sessions_running and not info.keeper and not yes:
            question = f"This ends {_count(info.sessions_running)}. Restart the daemon?"
            if not sys.stdin.isatty():
                raise click.UsageError(f"{question} Say so with --yes")
            click.confirm(question, abort=True, err=True)
        answer = connection.call(RESTART, Restart(), ANSWER_SECONDS)
        wait_for_end(connection)
    fresh = wait_for_successor(app, info.started_at_ms)
    if app.json:
        app.emit(
            {"pid": fresh.pid, "version": fresh.version, "sessions_kept": answer.sessions_kept,
             "sessions_ended": answer.sessions_ended}
        )  # fmt: skip
    else:
        print(f"restarted the daemon (pid {fresh.pid}, version {fresh.version}){_ended(answer.sessions_ended)}")
    return 0


def running_daemon(app: App) -> Connection:
    """Connect to the daemon that runs. Starts one only where sessions are kept and nobody serves them."""
    try:
        return app.reconnect()
    except DaemonUnreachable as exc:
        if not exc.data.get("kept"):
            raise
        return app.connect()


def wait_for_end(connection: Connection) -> None:
    """Wait until the daemon closes the connection."""
    try:
        while True:
            connection.next_message()
    except ConnectionLost:
        pass


def wait_for_successor(app: App, started_before_ms: int) -> NodeInfo:
    """Wait for a daemon that is not the one started then."""
    deadline = time.monotonic() + GONE_SECONDS
    while True:
        try:
            with app.reconnect() as connection:
                info = connection.call(INFO, GetInfo(), ANSWER_SECONDS)
            if info.started_at_ms != started_before_ms:
                return info
        except Unavailable:
            pass
        if time.monotonic() > deadline:
            raise DaemonUnreachable("the daemon has not come back", hint=f"see {app.config.paths.log_file}")
        time.sleep(POLL_SECONDS)


def _watch(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends; None where there are none."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None


def _wait_for_exit(process: int) -> None:
    import select

    # Then the lock is free, and `serve` can be called at once.
    if not select.select([process], [], [], GONE_SECONDS)[0]:
        note("the daemon has stopped serving, but its process is still there")
    os.close(process)


def _ended(count: int) -> str:
    return f"; {_count(count)} ended" if count else ""


def _count(count: int) -> str:
    return f"{count} running session{'' if count == 1 else 's'}"


@command("version", example="ptybridge version --json")
def version_command(app: App) -> None:
    """Print the version of this program; `status` tells the daemon's."""
    if app.json:
        app.emit({"version": __version__, "python": platform.python_version(), "platform": sys.platform})
    else:
        print(f"ptybridge {__version__}")
