"""`history`, `search`, and `run --in`: the commands of a session's shell, and what they printed."""

import shlex
import sys
import time
from collections.abc import Sequence

import click

from ptybridge.api.command import LIST, RUN, SEARCH, Command, ListCommands, Match, RunCommand, Search
from ptybridge.cli import output
from ptybridge.cli.app import App, note
from ptybridge.cli.command import command
from ptybridge.cli.exits import EXIT_FAILURE, EXIT_TIMEOUT
from ptybridge.cli.identity import client_name
from ptybridge.cli.targets import find, find_id, target_argument
from ptybridge.errors import Busy
from ptybridge.text import UNPRINTABLE, printable


@command(
    "history",
    example="""
    ptybridge history build
    ptybridge history build --failed
    ptybridge history build --json -n 1
    """,
)
@target_argument()
@click.option("-n", "limit", type=click.IntRange(1, 1000), default=50, metavar="N", help="At most the last N (50).")
@click.option("--failed", is_flag=True, help="Only those that failed.")
@click.option("--contains", metavar="X", help="Only those whose line has X in it.")
def history_command(app: App, target: str, limit: int, failed: bool, contains: str | None) -> None:
    """List the commands that ran in the shell of the session TARGET, with their exit codes, oldest first.

    A "?" marks what only unproven output says, such as commands on another machine.
    """
    params = ListCommands(session_id=find_id(app, target), limit=limit, failed=failed, contains=contains)
    answer = app.call(LIST, params)
    if app.json:
        app.emit(answer)
        return
    if not answer.commands and answer.integration == "off":
        note("this session's program is no shell that tells of its commands")
    head = ("#", "EXIT", "TIME", "TOOK", "DIRECTORY", "COMMAND")
    rows = [_row(one) for one in reversed(answer.commands)]
    for line in output.table(head, rows, ("TOOK", "TIME", "DIRECTORY")):
        print(line)


def _row(one: Command) -> list[tuple[str, str]]:
    code = "" if one.exit_code is None else str(one.exit_code)
    took = "" if one.ended_at_ms is None else f"{(one.ended_at_ms - one.started_at_ms) / 1000:.1f}s"
    at = time.strftime("%H:%M:%S", time.localtime(one.started_at_ms / 1000))
    text = one.command if one.command is not None else "(not in its history)"
    return [
        (f"{one.number}{'' if one.trusted else '?'}", "dim"),
        (code if one.ended_at_ms is not None else "runs", "red" if one.exit_code else "green"),
        (at, "dim"),
        (took, "dim"),
        (one.cwd or "", "dim"),
        (text, "" if one.trusted else "dim"),
    ]


@command(
    "search",
    example="""
    ptybridge search build error
    ptybridge search build --regex 'line [0-9]+' -C 2
    ptybridge search build --last -n 1 warning
    """,
    exits="""
    0  there are matches
    1  there are none
    """,
)
@target_argument()
@click.argument("pattern")
@click.option("--regex", is_flag=True, help="PATTERN is an RE2 expression.")
@click.option("-i", "ignore_case", is_flag=True, help="Upper and lower case are the same.")
@click.option("-C", "context", type=click.IntRange(0, 100), default=0, metavar="N", help="N lines before and after.")
@click.option(
    "-n", "limit", type=click.IntRange(1, 10_000), default=1000, metavar="N", help="At most N of them (1000)."
)
@click.option("--last", is_flag=True, help="From the end backwards.")
def search_command(
    app: App, target: str, pattern: str, regex: bool, ignore_case: bool, context: int, limit: int, last: bool
) -> int:
    """Print the lines with PATTERN of what the session TARGET has printed, as far as it is kept.

    Lines are as they read in the end: without escape sequences, progress bars in their last state.
    """
    params = Search(
        session_id=find_id(app, target),
        pattern=pattern,
        regex=regex,
        ignore_case=ignore_case,
        context_lines=context,
        max_matches=limit,
        direction="backward" if last else "forward",
    )
    answer = app.call(SEARCH, params)
    if app.json:
        app.emit(answer)
    else:
        for index, one in enumerate(answer.matches):
            if index and context:
                print("--")
            _print(one)
        if answer.more:
            note("there are more; see -n")
    return 0 if answer.matches else EXIT_FAILURE


def _print(one: Match) -> None:
    for number, text in enumerate(one.before, one.line - len(one.before)):
        print(f"{number}-{printable(text, 100_000)}")
    print(f"{one.line}:{printable(one.text, 100_000)}")
    for number, text in enumerate(one.after, one.line + 1):
        print(f"{number}-{printable(text, 100_000)}")


def run_inside(app: App, target: str, words: Sequence[str], shell_command: str | None, timeout: float | None) -> int:
    """Run a command in the shell of a session; return its status."""
    text = shell_command if shell_command is not None else shlex.join(words)
    quoted = shlex.quote(target)
    params = RunCommand(
        session_id=find(app, target).session_id,
        command=text,
        timeout_ms=None if timeout is None else int(timeout * 1000),
        max_output_bytes=16 << 20,
        client_id=client_name(),
    )
    try:
        done = app.call(RUN, params, None)
    except Busy as exc:
        exc.hint = f"`ptybridge wait {quoted} --done` waits for its prompt, `ptybridge attach {quoted}` shows it"
        raise
    sys.stdout.write(UNPRINTABLE.sub(lambda found: found[0] if found[0] in "\n\t" else "", done.output))
    sys.stdout.flush()
    if done.reason == "completed":
        return EXIT_FAILURE if done.exit_code is None else done.exit_code
    reasons = {
        "timeout": "it runs on after the time",
        "needs_input": f"it waits for input: see `ptybridge attach {quoted}`",
        "exited": "the session has ended",
        "gap": "output was discarded before its end was found",
    }
    note(reasons[done.reason])
    return EXIT_TIMEOUT if done.reason in {"timeout", "needs_input"} else EXIT_FAILURE
