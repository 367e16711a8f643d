"""`wait`: until something holds in a session."""

import click

from ptybridge.api.terminal import WAIT, Condition, Wait, Waited
from ptybridge.cli.app import App, note
from ptybridge.cli.command import command
from ptybridge.cli.exits import EXIT_FAILURE, EXIT_TIMEOUT, status_of
from ptybridge.cli.targets import find, target_argument


@command(
    "wait",
    example="""
    ptybridge wait build
    ptybridge wait build --status || echo it failed
    ptybridge wait server --text 'listening on' --timeout 30
    ptybridge wait edit --idle 0.5
    ptybridge wait shell --done --needs-input
    """,
    exits="""
    0    it holds (with --status, the session's own status instead)
    1    the session ended, or its output was lost, before it held
    124  it did not hold within the time
    """,
)
@target_argument()
@click.option("--exit", "exited", is_flag=True, help="The program has exited (the default).")
@click.option("--text", "texts", multiple=True, metavar="X", help="It has printed X; may be repeated.")
@click.option("--regex", "regexes", multiple=True, metavar="X", help="It has printed a match of the RE2 expression X.")
@click.option("--idle", type=click.FloatRange(min=0), metavar="S", help="It has printed nothing for S seconds.")
@click.option("--screen", "visible", metavar="X", help="X is to be seen on its screen.")
@click.option("--done", is_flag=True, help="Its shell is at the prompt, and no command runs.")
@click.option("--needs-input", is_flag=True, help="Its program is silent and waits for input.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="S", help="Give up after S seconds.")
@click.option("--new", "only_new", is_flag=True, help="Look for --text and --regex in what is printed from now on.")
@click.option("--status", is_flag=True, help="Wait for the exit and leave with the session's status.")
def wait_command(
    app: App,
    target: str,
    exited: bool,
    texts: tuple[str, ...],
    regexes: tuple[str, ...],
    idle: float | None,
    visible: str | None,
    done: bool,
    needs_input: bool,
    timeout: float | None,
    only_new: bool,
    status: bool,
) -> int:
    """Wait until one of the given things holds in the session TARGET.

    Texts are looked for in all output that is kept, so it does not matter whether they come before the command.
    """
    until = [Condition(pattern=text) for text in texts]
    until += [Condition(pattern=regex, regex=True) for regex in regexes]
    if idle is not None:
        until.append(Condition(idle_ms=int(idle * 1000)))
    if visible is not None:
        until.append(Condition(screen=visible))
    if done:
        until.append(Condition(command_done=True))
    if needs_input:
        until.append(Condition(needs_input=True))
    if exited or status or not until:
        until.append(Condition(exit=True))
    session = find(app, target)
    params = Wait(
        session_id=session.session_id,
        until=until,
        offset=session.end_offset if only_new else None,
        timeout_ms=None if timeout is None else int(timeout * 1000),
    )
    answer = app.call(WAIT, params, None)
    if app.json:
        app.emit(answer)
    return _verdict(answer, status=status)


def _verdict(answer: Waited, *, status: bool) -> int:
    if answer.condition is not None:
        exited = answer.condition.exit
        return status_of(answer.exit_code, answer.exit_signal) if status and exited else 0
    if answer.reason == "timeout":
        note("it did not hold within the time")
        return EXIT_TIMEOUT
    lost = answer.reason == "gap"
    note("output was discarded before it was searched" if lost else "the session ended before it held")
    return EXIT_FAILURE
