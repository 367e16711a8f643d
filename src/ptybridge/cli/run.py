"""`run`: a program as a session, used like any other program: its output here, its status at the end.

On a terminal it is an attachment without a prefix key. Elsewhere (a script, a pipe, cron) it is `Relay`.
"""

import os

import click

from ptybridge.api.session import CLOSE, GET, Close, Get, SessionInfo
from ptybridge.cli.app import App, note
from ptybridge.cli.command import command
from ptybridge.cli.creating import create, creation_options, own_size
from ptybridge.cli.exits import EXIT_TIMEOUT, status_of
from ptybridge.cli.targets import complete_target
from ptybridge.errors import ConnectionLost, PtybridgeError, SessionNotFound

# Ends that a limit has brought about, not the program.
_LIMITS = {"timeout", "idle"}


@command(
    "run",
    example="""
    ptybridge run -- make test
    ptybridge run --timeout 60 -c 'sort < names | uniq' > unique
    ptybridge run --name top -- top
    ptybridge run --in work -- git status
    """,
    exits="""
    the program's own status, 128 + n when signal n ended it; 124 when a limit ended it
    (with --in: when it runs on, after the time or because it waits for input),
    127 when there is no such program, 126 when it cannot be executed
    """,
    json=False,
)
@creation_options
@click.option("--timeout", type=click.FloatRange(min=0.001), metavar="S", help="End it after S seconds.")
@click.option(
    "--pty/--pipes",
    "terminal",
    default=None,
    help="A terminal or pipes; by default as it is here: a terminal if input and output are one.",
)
@click.option(
    "--in",
    "target",
    metavar="TARGET",
    shell_complete=complete_target,
    help="Run it in the shell of this session, at its prompt.",
)
@click.option("--keep", is_flag=True, help="Keep the session and its output afterwards.")  # fmt: skip
def run_command(
    app: App,
    timeout: float | None,
    terminal: bool | None,
    target: str | None,
    keep: bool,
    name: str | None,
    command: tuple[str, ...],
    shell_command: str | None,
    cwd: str | None,
    assignments: tuple[str, ...],
    tags: tuple[str, ...],
    idle_timeout: float | None,
    log_dir: str | None,
) -> int:
    """Run CMD as a session, with input and output here, and leave with its status.

    Signals are passed on. Others can find the session while it runs, watch it and help. Away from a terminal
    standard output and standard error stay apart.
    """
    if not command and shell_command is None:
        raise click.UsageError("give a command, or -c CMD")
    if target is not None:
        from ptybridge.cli.history import run_inside

        if name or cwd or assignments or tags or idle_timeout or log_dir or keep or terminal is not None:
            raise click.UsageError("--in goes with --timeout and -c only: the session is there already")
        return run_inside(app, target, command, shell_command, timeout)
    interactive = os.isatty(0) and os.isatty(1) and terminal is not False
    session = create(
        app,
        command=command,
        shell_command=shell_command,
        backend="pty" if interactive or terminal else "pipes",
        name=name,
        cwd=cwd,
        assignments=assignments,
        tags=tags,
        size=own_size() if interactive else None,
        idle_timeout=idle_timeout,
        max_runtime=timeout,
        overflow="pause",
        log_dir=log_dir,
    )
    finished = False
    try:
        status = _attached(app, session) if interactive else _relayed(app, session)
        finished = True
    finally:
        ended = _end(app, session.session_id, keep=keep and finished)
    if ended is not None and ended.exit_reason in _LIMITS:
        note(f"ended after {_limit(ended)} s" + (" without output" if ended.exit_reason == "idle" else ""))
        return EXIT_TIMEOUT
    return status


def _attached(app: App, session: SessionInfo) -> int:
    from ptybridge.cli.enter import enter

    return enter(app, session.session_id, session.name, inline=True, prefix="none", hint=False)


def _relayed(app: App, session: SessionInfo) -> int:
    from ptybridge.cli.relay import Relay

    exited = Relay(app.client, session.session_id).run()
    return status_of(exited.exit_code, exited.exit_signal)


def _end(app: App, session_id: str, *, keep: bool) -> SessionInfo | None:
    """Forget the session, ending it if it still runs; return how it was just before.

    What it has left running in the background is not ended: `run` is no cage. If that holds its output open, the
    session stays.
    """
    try:
        session = app.call(GET, Get(session_id=session_id))
        background = session.state == "exited" and not session.output_closed
        if not keep and not background:
            app.call(CLOSE, Close(session_id=session_id, background="leave"))
        return session
    except (SessionNotFound, ConnectionLost):
        return None
    except PtybridgeError as exc:
        note(exc.message)
        return None


def _limit(session: SessionInfo) -> str:
    limit = session.idle_timeout_ms if session.exit_reason == "idle" else session.max_runtime_ms
    return f"{(limit or 0) / 1000:g}"
