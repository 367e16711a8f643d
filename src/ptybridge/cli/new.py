"""`new`: start a program as a session, and be on it."""

import sys

import click

from ptybridge.api.session import LIST, List, SessionInfo
from ptybridge.cli.app import App
from ptybridge.cli.command import command
from ptybridge.cli.creating import create, creation_options, own_size, parse_size
from ptybridge.errors import NameTaken
from ptybridge.model import Backend


@command(
    "new",
    example="""
    ptybridge new
    ptybridge new --name edit -- vim README.md
    ptybridge new -d --name build --tag ci -c 'make test | tee log'
    ptybridge new -A --name main
    ptybridge new -d --backend tmux --workspace web --name server -c 'npm start'
    """,
    exits="""
    attached: as for `attach`. With -d: 0 when it was started,
    127 when there is no such program, 126 when it cannot be executed.
    """,
)
@creation_options
@click.option("-d", "--detach", is_flag=True, help="Do not attach; print the id.")
@click.option("-A", "existing", is_flag=True, help="Use the running session of that name if there is one.")
@click.option("--size", callback=parse_size, metavar="CxR", help="Columns and rows, such as 120x30.")
@click.option("--backend", type=click.Choice(["pty", "pipes", "tmux"]), help="What to run it in (pty).")
@click.option("--workspace", metavar="W", help="Sessions it belongs together with; with tmux, a tmux session.")
@click.option("--pipes", is_flag=True, help="Pipes instead of a terminal; implies -d.")
def new_command(
    app: App,
    detach: bool,
    existing: bool,
    size: tuple[int, int] | None,
    backend: Backend | None,
    workspace: str | None,
    pipes: bool,
    name: str | None,
    command: tuple[str, ...],
    shell_command: str | None,
    cwd: str | None,
    assignments: tuple[str, ...],
    tags: tuple[str, ...],
    idle_timeout: float | None,
    log_dir: str | None,
) -> int:
    """Start CMD (your shell, if you give none) as a session, and attach to it.

    It gets your environment and this directory. Without a terminal on standard output, and with -d, `new` only
    prints the session's id.
    """
    if existing and name is None:
        raise click.UsageError("-A needs --name")
    if pipes and backend not in {None, "pipes"}:
        raise click.UsageError(f"--pipes and --backend {backend} exclude each other")
    backend = backend or ("pipes" if pipes else "pty")
    pipes = backend == "pipes"
    attaching = not (detach or pipes or app.json) and sys.stdout.isatty()
    session = _running(app, name) if existing and name else None
    fresh = session is None
    if session is None:
        try:
            session = create(
                app,
                command=command,
                shell_command=shell_command,
                backend=backend,
                workspace=workspace,
                name=name,
                cwd=cwd,
                assignments=assignments,
                tags=tags,
                size=size or (own_size() if attaching else None),
                idle_timeout=idle_timeout,
                log_dir=log_dir,
            )
        except NameTaken:
            # Somebody was faster than we were after looking.
            session = _running(app, name) if existing and name else None
            if session is None:
                raise
            fresh = False
    if attaching:
        from ptybridge.cli.enter import enter

        return enter(app, session.session_id, session.name, inline=fresh)
    if app.json:
        app.emit(session)
    else:
        print(session.session_id)
    return 0


def _running(app: App, name: str) -> SessionInfo | None:
    sessions = app.call(LIST, List(state="running")).sessions
    return next((one for one in sessions if one.name == name), None)
