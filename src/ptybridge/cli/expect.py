"""`expect`: a scripted dialogue with a program."""

import os
import sys
from getpass import getpass
from pathlib import Path

import click

from ptybridge.cli.app import App, note
from ptybridge.cli.command import command
from ptybridge.cli.completing import paths
from ptybridge.cli.exits import EXIT_FAILURE, EXIT_TIMEOUT
from ptybridge.cli.targets import complete_target, find
from ptybridge.errors import InvalidParams
from ptybridge.text import plain, printable

SHOWN_LINES = 20


@command(
    "expect",
    example="""
    ptybridge expect install.expect
    ptybridge expect login.expect --in shell
    ptybridge expect --check install.expect
    """,
    exits="""
    0    the script came to its end, or to `done`
    1    it came to `fail`, or the program ended too early
    2    the script is not in order, or a secret is missing
    124  something expected was not seen in time
    """,
)
@click.argument("script", shell_complete=paths("file"), metavar="SCRIPT")
@click.option(
    "--in",
    "target",
    metavar="TARGET",
    shell_complete=complete_target,
    help="Talk with this session instead of a new one.",
)
@click.option("--keep", is_flag=True, help="Leave a session that the script has started.")
@click.option("--check", is_flag=True, help="Only look whether the script is in order.")
@click.option("-v", "--verbose", is_flag=True, help="Tell each step on standard error.")
def expect_command(app: App, script: str, target: str | None, keep: bool, check: bool, verbose: bool) -> int:
    """Play a scripted dialogue: send, expect, branch. docs/expect.md tells what stands in SCRIPT (- is standard input).

    When something expected does not come, what came instead is shown. Secrets come from the environment, files,
    programs or you, and are in no output of this command.
    """
    from ptybridge.sdk.dialogue import Outcome, Traced, child_environment, fetch_secrets, play
    from ptybridge.sdk.script import parse
    from ptybridge.sdk.sync.client import Client

    parsed = parse(_read(script), script)
    if check:
        return 0
    if bool(parsed.command) == (target is not None):
        raise click.UsageError(
            "the script spawns a program of its own: leave --in out"
            if target is not None
            else "the script spawns nothing: say with --in TARGET which session it is for"
        )
    secrets = fetch_secrets(parsed, os.environ, _ask if sys.stdin.isatty() else None)

    def told(step: Traced) -> None:
        if verbose:
            note(printable(f"{script}:{step.line}: {step.did} ({step.result}, {step.ms} ms)", 1000))

    app.connect()
    with Client.local(socket=app.config.paths.socket, start=False) as client:
        if target is not None:
            found = find(app, target)
            session = client.session(found.session_id)
            # What was printed before is nobody's answer.
            session.offset = found.end_offset
            outcome: Outcome = play(session, parsed, secrets, told)
        else:
            session = client.sessions.create(list(parsed.command), env=child_environment(parsed))
            try:
                outcome = play(session, parsed, secrets, told)
            finally:
                if not keep:
                    session.close()
    if app.json:
        app.emit(outcome)
    if outcome.reason == "done":
        return 0
    note(printable(f"{script}:{outcome.line}: {outcome.message}", 2000))
    _show_seen(next((one.seen for one in reversed(outcome.steps) if one.seen), ""))
    return EXIT_TIMEOUT if outcome.reason == "timeout" else EXIT_FAILURE


def _show_seen(seen: str) -> None:
    lines = plain(seen).rstrip("\n").splitlines()[-SHOWN_LINES:]
    if any(lines):
        print("  seen last:", *lines, sep="\n  | ", file=sys.stderr)
    else:
        print("  nothing was seen", file=sys.stderr)


def _read(path: str) -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidParams(f"{path} cannot be read: {getattr(exc, 'strerror', None) or 'it is no text'}") from exc


def _ask(prompt: str) -> str:
    return getpass(prompt)
