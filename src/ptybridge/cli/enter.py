"""`attach` and `reset`: the commands around `cli.attach`, which does the work."""

import click

from ptybridge.cli.app import App
from ptybridge.cli.command import command
from ptybridge.cli.targets import find, latest, target_argument


def enter(
    app: App,
    session_id: str,
    name: str | None,
    *,
    inline: bool = False,
    read_only: bool = False,
    prefix: str | None = None,
    hint: bool = True,
    scrollback_lines: int | None = None,
    take: bool = False,
) -> int:
    """Attach as the configuration wants it; return the exit code. `prefix` None stands for the configured one."""
    from ptybridge.cli.attach import AttachOptions, attach

    settings = app.config.attach
    key = prefix or settings.prefix
    options = AttachOptions(
        name=name or "",
        read_only=read_only,
        prefix=None if key == "none" else key,
        hint=hint and settings.hint,
        inline=inline,
        scrollback_lines=settings.scrollback_lines if scrollback_lines is None else scrollback_lines,
        take=take,
        # The terminal is the program's: nothing is announced.
        revive=lambda: app.revive(lambda _: None),
    )
    return attach(app.reconnect, session_id, options)


@command(
    "attach",
    example="""
    ptybridge attach
    ptybridge attach build
    ptybridge attach --read-only s1
    """,
    exits="""
    0 after you detach; the program's own status when it exits, 128 + n when signal n ended it;
    4 when the daemon is lost.
    """,
    json=False,
)
@target_argument(required=False)
@click.option("-r", "--read-only", is_flag=True, help="Watch, without typing or resizing.")
@click.option("--take", is_flag=True, help="Take the lease at once: nobody else can type until you leave.")
@click.option("--prefix", metavar="KEY", help="The key before a command, such as ctrl-a; none for none.")
@click.option("--no-hint", is_flag=True, help="Do not say how to detach.")
@click.option("--scrollback", type=click.IntRange(0, 100_000), metavar="N",
              help="How many lines of the past to put into this terminal's scrollback.")  # fmt: skip
def attach_command(
    app: App,
    target: str | None,
    read_only: bool,
    take: bool,
    prefix: str | None,
    no_hint: bool,
    scrollback: int | None,
) -> int:
    """Be on the session TARGET, or on the latest one, as if it ran in this terminal.

    Ctrl-\\ d leaves it, and it runs on; Ctrl-\\ t takes the lease, so that only you can type, and gives it back;
    Ctrl-\\ ? shows the other keys. Several people can be on a session.
    """
    if take and read_only:
        raise click.UsageError("--take is for typing, --read-only for not typing")
    session = find(app, target) if target else latest(app)
    return enter(
        app,
        session.session_id,
        session.name,
        read_only=read_only,
        prefix=prefix,
        hint=not no_hint,
        scrollback_lines=scrollback,
        take=take,
    )


@command("reset", example="ptybridge reset", json=False)
def reset_command(app: App) -> int:
    """Give back this terminal after a client was killed with SIGKILL while it had it.

    Switches off what programs switch on (mouse reports, the alternate screen, a hidden cursor) and turns echo on again.
    """
    from ptybridge.cli.terminal import reset

    return reset()
