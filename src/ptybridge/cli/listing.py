"""`ls` and `info`: what there is."""

import click

from ptybridge.api.session import GET, LIST, Get, List, SessionInfo
from ptybridge.cli import output
from ptybridge.cli.app import App
from ptybridge.cli.command import command
from ptybridge.cli.quick import session_table, state_of
from ptybridge.cli.targets import find_id, target_argument


@command(
    "ls",
    example="""
    ptybridge ls
    ptybridge ls --running --tag build
    ptybridge ls --json | jq -r '.[].session_id'
    """,
)
@click.option("--running", "state", flag_value="running", help="Only running sessions.")
@click.option("--exited", "state", flag_value="exited", help="Only exited ones.")
@click.option("--owner", metavar="O", help="Only those with this owner.")
@click.option("--tag", metavar="T", help="Only those with this tag.")
@click.option("--profile", metavar="P", help="Only those made by this kind of client, such as mcp.")
@click.option("-q", "--quiet", is_flag=True, help="Only the ids, one a line.")
def ls_command(
    app: App, state: str | None, owner: str | None, tag: str | None, profile: str | None, quiet: bool
) -> None:
    """List the sessions, oldest first.

    STATE is prompt (a shell that waits for a command), waiting (a program that waits for input), running, or how it
    ended. Exited sessions stay in the list for a day, so that their output and status can still be read.
    With --json the list is an array of session objects.
    """
    wanted = List(owner=owner, tag=tag, state=state, profile=profile)  # type: ignore[arg-type]  # one of two flag values
    sessions = app.call(LIST, wanted).sessions
    if app.json:
        app.emit(sessions)
    elif quiet:
        for session in sessions:
            print(session.session_id)
    elif lines := session_table(sessions, some=wanted != List()):
        print(*lines, sep="\n")


@command(
    "info",
    example="""
    ptybridge info build
    ptybridge info build --json | jq .exit_code
    """,
)
@target_argument()
def info_command(app: App, target: str) -> None:
    """Show everything about the session TARGET."""
    session = app.call(GET, Get(session_id=find_id(app, target)))
    if app.json:
        app.emit(session)
    else:
        print(*output.pairs(_facts(session)), sep="\n")


def _facts(session: SessionInfo) -> list[tuple[str, str]]:
    foreground = session.foreground
    return [
        ("id", session.session_id),
        ("name", session.name or ""),
        ("state", _state_sentence(session)),
        ("command", output.command_line(session.command)),
        ("foreground", "" if foreground is None else _foreground_sentence(session)),
        ("directory", session.current_cwd or session.cwd),
        ("title", session.title),
        ("process", f"{session.pid} (group {session.pgid})"),
        ("size", f"{session.cols}x{session.rows} ({session.window_size_policy})" if session.backend != "pipes" else ""),
        ("backend", session.backend),
        ("workspace", session.workspace or ""),
        ("owner", session.owner or ""),
        ("created by", session.created_by),
        ("profile", session.profile or ""),
        ("tags", ", ".join(session.tags)),
        ("access", session.access),
        ("created", f"{output.clock(session.created_at_ms)} ({output.ago(session.created_at_ms)} ago)"),
        ("last active", f"{output.ago(session.last_active_at_ms)} ago"),
        ("output", _output_sentence(session)),
        ("input", output.size(session.bytes_written)),
        ("kept", "" if session.keep_ms is None else f"{output.duration(session.keep_ms)} after its exit"),
        ("idle limit", _limit(session.idle_timeout_ms)),
        ("runtime limit", _limit(session.max_runtime_ms)),
        ("clients", ", ".join(f"{one.client_id} ({one.mode}, {one.cols}x{one.rows})" for one in session.clients)),
    ]


def _output_sentence(session: SessionInfo) -> str:
    kept = f"kept from offset {session.start_offset} to {session.end_offset}"
    limit = f"limit {output.size(session.max_output_bytes)}, {session.overflow}"
    return f"{output.size(session.bytes_read)}, {kept} ({limit})"


def _state_sentence(session: SessionInfo) -> str:
    state = state_of(session)[0]
    if session.state == "running":
        return {"waiting": "running, waiting for input", "prompt": "running, its shell is at the prompt"}.get(
            state, state
        )
    held = "" if session.output_closed else ", its output is still held open"
    when = f", {output.ago(session.exited_at_ms)} ago" if session.exited_at_ms is not None else ""
    return f"{state} ({session.exit_reason}{when}{held})"


def _foreground_sentence(session: SessionInfo) -> str:
    assert session.foreground is not None
    stopped = ", output stopped (Ctrl-S)" if session.foreground.flow_stopped else ""
    return f"{session.foreground.name} (pid {session.foreground.pid}{stopped})"


def _limit(milliseconds: int | None) -> str:
    return "" if milliseconds is None else f"{milliseconds / 1000:g} s"
