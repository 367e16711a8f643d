"""`serve`: the daemon itself, in the foreground or, for our own use, detached."""

import contextlib
import os
import shlex
import shutil
import sys

import click
import msgspec

from ptybridge.cli.app import App
from ptybridge.cli.command import command
from ptybridge.cli.durations import duration
from ptybridge.errors import AlreadyRunning, PtybridgeError

ONCE_GRACE_MS = 5000


@command(
    "serve",
    example="""
    ptybridge serve
    ptybridge serve --with-shell --web
    ptybridge serve -c htop --web
    ptybridge serve -c htop --public --read-only
    ptybridge serve -c 'htop' --socket /run/user/1000/second/daemon.sock
    """,
    exits="""
    0 after it was stopped (--once: the program's own), 5 when another daemon serves the socket
    """,
    json=False,
)
@click.option(
    "-c",
    "shell_command",
    metavar="CMD",
    help="Start with a session of this; --web: sessions made there run it.",
)
@click.option("--with-shell", is_flag=True, help="Start with a session of your shell.")
@click.option("--web", is_flag=True, help="Serve HTTP, for browsers and scripts.")
@click.option("--host", metavar="ADDRESS", help="Where to serve HTTP; beyond this machine only with a certificate.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", help="Its port; the next free one when it is taken."
)
@click.option("--public", is_flag=True, help="Share one session of CMD with everybody who has the link; needs -c.")
@click.option("--read-only", is_flag=True, help="Of --public: visitors only watch.")
@click.option("--once", is_flag=True, help="Of --public: stop when the session ends, or the first visitor leaves.")
@click.option("--max-clients", type=click.IntRange(1, 10_000), metavar="N", help="Of --public: visitors at a time.")
@click.option("--grace", metavar="TIME", callback=duration, help="Of --public: it ends so long after the last left.")
@click.option("--expires", metavar="TIME", callback=duration, help="Of --public: how long the link is good; 1d.")
@click.option("--pipes", is_flag=True, help="Run CMD behind pipes: it reads and writes lines, or draws pages.")
@click.option("--no-keeper", is_flag=True, help="Keep no session: all end with the daemon.")
@click.option(
    "--service", is_flag=True, hidden=True, help="The keeper is a service of its own; used by the systemd units."
)
@click.option("--detached", is_flag=True, hidden=True, help="Say nothing on the terminal.")
@click.option("--daemonize", is_flag=True, hidden=True, help="Detach from the starter; used by autostart.")
@click.option("--takeover-fds", hidden=True, help="Take over from a running daemon; used by restart.")
@click.option("--until-closed", type=int, hidden=True, help="Stop, and leave nothing, when this pipe is closed.")
@click.option("--ready-fd", type=int, hidden=True, help="Write here once requests are answered.")
def serve_command(
    app: App,
    shell_command: str | None,
    with_shell: bool,
    web: bool,
    host: str | None,
    port: int | None,
    public: bool,
    read_only: bool,
    once: bool,
    max_clients: int | None,
    grace: int | None,
    expires: int | None,
    pipes: bool,
    no_keeper: bool,
    service: bool,
    detached: bool,
    daemonize: bool,
    ready_fd: int | None,
    takeover_fds: str | None,
    until_closed: int | None,
) -> int:
    """Run the daemon in the foreground until Ctrl-C, SIGTERM or `ptybridge stop`.

    With a keeper (`daemon.keeper`, the default) only `stop` ends the sessions; the others leave them running for the
    next daemon.

    Other commands start it by themselves when they need it; this is for service managers, and for watching it.
    --socket says where it listens.
    """
    if daemonize and os.fork():
        # The starter waits for us only; the daemon is nobody's child.
        os._exit(0)
    quiet = detached or daemonize or service
    if no_keeper or service:
        app.flags["daemon.keeper"] = service
    if web or public or host is not None or port is not None:
        app.flags.update({"web.enabled": True, "web.host": host, "web.port": port})
    if not public and (read_only or once or max_clients is not None or grace is not None or expires is not None):
        raise click.UsageError("--read-only, --once, --max-clients, --grace and --expires go with --public")
    if public or (web and shell_command is not None):
        app.flags.update(_served(shell_command, public, read_only, once, max_clients, grace, expires, pipes))
    if public:
        # The first visitor starts it.
        shell_command = None
    # A daemon started from within a session is not part of that session.
    os.environ.pop("PTYBRIDGE_SESSION_ID", None)
    if ready_fd is None:
        try:
            return _serve(
                app,
                shell_command,
                with_shell=with_shell,
                quiet=quiet,
                ready_fd=None,
                takeover=takeover_fds,
                service=service,
            )
        except AlreadyRunning as exc:
            us = _ourselves()
            exc.hint = f"use it (`{us} ls`), stop it with its sessions (`{us} stop`), or set --socket"
            raise
    os.set_inheritable(ready_fd, False)
    if daemonize:
        with contextlib.suppress(BrokenPipeError):  # whoever starts us has been interrupted
            os.write(ready_fd, str(os.getpid()).encode())
    pipe = os.fstat(ready_fd)
    if until_closed is not None:
        os.set_inheritable(until_closed, False)
    try:
        return _serve(
            app, shell_command, with_shell=with_shell, quiet=quiet, ready_fd=ready_fd, until_closed=until_closed
        )
    except PtybridgeError as exc:
        _report(ready_fd, pipe, exc)
        raise


def _served(
    command: str | None,
    public: bool,
    read_only: bool,
    once: bool,
    max_clients: int | None,
    grace: int | None,
    expires: int | None,
    pipes: bool,
) -> dict[str, object]:
    """Return the settings of what is served to the web."""
    if command is None:
        raise click.UsageError("--public shares the program of -c CMD")
    if once and grace is None:
        # Long enough to reload a page, or to come back through a bad network.
        grace = ONCE_GRACE_MS
    return {
        "serve.command": command,
        "serve.cwd": os.getcwd(),
        "serve.backend": "pipes" if pipes else "pty",
        "serve.public": public,
        "serve.read_only": read_only,
        "serve.once": once,
        "serve.max_clients": max_clients,
        "serve.grace_ms": grace,
        "serve.link_ttl_ms": expires,
    }


def _serve(
    app: App,
    shell_command: str | None,
    *,
    with_shell: bool,
    quiet: bool,
    ready_fd: int | None,
    takeover: str | None = None,
    service: bool = False,
    until_closed: int | None = None,
) -> int:
    config = app.config
    if config.policy.rule:
        from ptybridge.cli.rules import check_rules

        check_rules(app.loaded)
    from ptybridge.daemon import serve  # trio and the emulator: not before the configuration is known to be good

    def announce(line: str) -> None:
        print(f"ptybridge: {line.replace('`ptybridge ', f'`{_ourselves()} ')}", file=sys.stderr, flush=True)
        if line.startswith("serving on"):
            print(_advice(app, started=with_shell or shell_command is not None), file=sys.stderr, flush=True)

    return serve(
        config,
        command=shell_command,
        with_shell=with_shell,
        announce=(lambda line: None) if quiet else announce,
        ready_fd=ready_fd,
        # A service's warnings belong in the journal, too.
        foreground=service or not quiet,
        takeover=takeover,
        start_keeper=not service,
        until_closed=until_closed,
    )


def _report(ready_fd: int, pipe: os.stat_result, exc: PtybridgeError) -> None:
    """Tell the starter why there will be no daemon, if it has not been told that there is one."""
    from ptybridge.sdk.autostart import Failure

    try:
        now = os.fstat(ready_fd)
        if (now.st_dev, now.st_ino) == (pipe.st_dev, pipe.st_ino):
            os.write(ready_fd, msgspec.json.encode(Failure(message=exc.message, data=exc.describe())))
    except OSError:
        pass  # the starter is gone; the log has it


def _advice(app: App, *, started: bool) -> str:
    """Return what a newcomer wants to know next."""
    us = _ourselves()
    socket = app.config.paths.socket
    if app.loaded.origins["paths.socket"] == "flag":
        us += f" --socket {shlex.quote(socket)}"
    # With a keeper the sessions outlive this process.
    stop = f"{us} stop (Ctrl-C leaves the sessions running)" if app.config.daemon.keeper else "Ctrl-C"
    request = '{"jsonrpc":"2.0","id":1,"method":"session.list"}'
    return "\n".join(
        [
            f"  attach: {us} attach main" if started else f"  begin:  {us} new",
            f"  speak:  echo '{request}' | socat - UNIX-CONNECT:{shlex.quote(socket)}",
            f"  stop:   {stop}",
        ]
    )


def _ourselves() -> str:
    """Return how this program can be called from here."""
    program = os.path.abspath(sys.argv[0])
    if os.path.basename(program) != "ptybridge":
        return "python -m ptybridge"
    found = shutil.which("ptybridge")
    return "ptybridge" if found and os.path.realpath(found) == os.path.realpath(program) else os.path.relpath(program)
