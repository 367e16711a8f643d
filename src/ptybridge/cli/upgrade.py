"""`upgrade`: the daemon and the keeper, brought to the version that is installed."""

from typing import Final

import click

from ptybridge import __version__
from ptybridge.api.node import INFO, RESTART, UPGRADE, GetInfo, NodeInfo, Restart, Upgrade, Upgraded
from ptybridge.cli.app import ANSWER_SECONDS, App
from ptybridge.cli.command import command
from ptybridge.cli.node import running_daemon, wait_for_end, wait_for_successor
from ptybridge.errors import Unavailable

# The keeper tries the new program first, in a process of its own.
UPGRADE_SECONDS: Final = 60.0


@command(
    "upgrade",
    example="""
    pip install --upgrade ptybridge && ptybridge upgrade
    ptybridge upgrade --json
    """,
    exits="""
    0 when both have the installed version; 4 when one of them stays what it was
    """,
)
@click.option("--force", is_flag=True, help="Also when they have the installed version already.")
def upgrade_command(app: App, force: bool) -> int:
    """Bring the running daemon and keeper to the version that is installed now.

    No session ends. The daemon hands over to a fresh one, which is tried first; then the keeper turns into the new
    program. Clients wait, and go on by themselves.
    """
    before = _info(app)
    if not before.keeper:
        raise Unavailable(
            "this daemon works without a keeper, so its sessions would end with it",
            hint="`ptybridge restart` does that, and asks first",
        )
    after = before
    if force or before.version != __version__:
        after = _replace_daemon(app, before)
    with running_daemon(app) as connection:
        keeper = connection.call(UPGRADE, Upgrade(force=force), UPGRADE_SECONDS)
    if app.json:
        app.emit(
            {
                "installed_version": __version__,
                "daemon_version": after.version,
                "daemon_pid": after.pid,
                "daemon_upgraded": after.pid != before.pid,
                "keeper_version": keeper.keeper_version,
                "keeper_pid": keeper.keeper_pid,
                "keeper_upgraded": keeper.keeper_upgraded,
                "sessions_kept": after.sessions_running,
            }
        )
    else:
        _report(before, after, keeper)
    return 0


def _info(app: App) -> NodeInfo:
    with running_daemon(app) as connection:
        return connection.call(INFO, GetInfo(), ANSWER_SECONDS)


def _replace_daemon(app: App, before: NodeInfo) -> NodeInfo:
    try:
        return _restart(app, before)
    except Unavailable as exc:
        if exc.data.get("blocked_by") != "keeper":
            raise
    # The new daemon has no protocol in common with the old keeper; so the keeper goes first.
    with running_daemon(app) as connection:
        connection.call(UPGRADE, Upgrade(force=True), UPGRADE_SECONDS)
    return _restart(app, before)


def _restart(app: App, before: NodeInfo) -> NodeInfo:
    with running_daemon(app) as connection:
        connection.call(RESTART, Restart(), ANSWER_SECONDS)
        wait_for_end(connection)
    return wait_for_successor(app, before.started_at_ms)


def _report(before: NodeInfo, after: NodeInfo, keeper: Upgraded) -> None:
    print(_line("daemon", after.pid, before.version, after.version, changed=after.pid != before.pid))
    print(
        _line(
            "keeper",
            keeper.keeper_pid,
            keeper.keeper_version_before,
            keeper.keeper_version,
            changed=keeper.keeper_upgraded,
        )
    )
    count = after.sessions_running
    print(f"{count} running session{'' if count == 1 else 's'} kept")


def _line(name: str, pid: int | None, before: str | None, after: str | None, *, changed: bool) -> str:
    if not changed:
        return f"the {name} (pid {pid}) has version {after} already"
    return f"the {name} (pid {pid}) has version {after} now" + (f", before {before}" if before != after else "")
