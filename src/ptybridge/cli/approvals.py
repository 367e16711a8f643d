"""`approvals`: what waits for a human's answer, and the answer."""

import sys
import time
from collections.abc import Iterator

import click

from ptybridge.api.approval import DECIDE, LIST, ApprovalInfo, Decide, ListApprovals
from ptybridge.api.event import FOLLOW, FollowEvents
from ptybridge.cli import output
from ptybridge.cli.app import App, note
from ptybridge.cli.command import command
from ptybridge.text import printable

STYLES = {"pending": "yellow", "allowed": "green", "denied": "red", "expired": "dim"}
INDENT = " " * 8


@command(
    "approvals",
    example="""
    ptybridge approvals
    ptybridge approvals --watch
    ptybridge approvals allow k3m9xp
    ptybridge approvals deny k3 --reason 'use the sandbox'
    """,
)
@click.argument("action", required=False, default="ls", type=click.Choice(["ls", "allow", "deny"]))
@click.argument("approval_id", required=False, metavar="[ID]")
@click.option("--reason", metavar="TEXT", help="What the one who asked is told.")
@click.option("--all", "everything", is_flag=True, help="Also those decided lately.")
@click.option("--watch", is_flag=True, help="Go on printing what is asked and decided, until Ctrl-C.")
def approvals_command(
    app: App, action: str, approval_id: str | None, reason: str | None, everything: bool, watch: bool
) -> None:
    """List what waits for your answer; allow or deny it.

    What the rules ask about waits here when the configuration says policy.confirm = "human". ID may be the beginning
    of one. What you allow may be done once, within a few minutes. Agents can neither read these commands nor answer.
    """
    # An empty one is the beginning of any: a script whose variable is not set means none.
    if (action == "ls") != (not approval_id):
        raise click.UsageError("write `approvals`, `approvals allow ID` or `approvals deny ID`")
    if action == "ls" and reason is not None:
        raise click.UsageError("--reason goes with allow and deny")
    if action != "ls" and (watch or everything):
        raise click.UsageError("--watch and --all go with the list")
    if approval_id:
        chosen = _find(app, approval_id)
        decided = app.call(DECIDE, Decide(approval_id=chosen, allow=action == "allow", reason=reason))
        app.emit(decided) if app.json else print(f"{decided.approval_id} is {decided.state}")
    elif watch:
        _watch(app, everything)
    else:
        _list(app, everything)


def _find(app: App, wanted: str) -> str:
    found = [
        one.approval_id
        for one in app.call(LIST, ListApprovals(all=True)).approvals
        if one.approval_id == wanted or (one.approval_id.startswith(wanted) and one.state == "pending")
    ]
    if len(found) > 1:
        raise click.UsageError(f"{wanted!r} could be {' or '.join(found)}")
    # Who may not see it may not decide it either, which the daemon says best.
    return found[0] if found else wanted


def _list(app: App, everything: bool) -> None:
    found = app.call(LIST, ListApprovals(all=everything)).approvals
    if app.json:
        app.emit(found)
    elif found:
        print(*(line for one in found for line in _lines(one)), sep="\n")
    elif sys.stdout.isatty():
        print(output.style("nothing waits for an answer", "dim"))


def _watch(app: App, everything: bool) -> None:
    """Print every question as it is asked, and again as it is decided."""
    with_types = FollowEvents(types=["approval_requested", "approval_decided"])
    stream = app.stream(FOLLOW, with_types)
    shown = {}
    for one in app.call(LIST, ListApprovals(all=everything)).approvals:
        shown[one.approval_id] = one.state
        _show(app, one)
    for event in stream:
        for one in app.call(LIST, ListApprovals(all=True)).approvals:
            # What was asked and answered between two looks is shown once, as it is now.
            if one.approval_id == getattr(event, "approval_id", "") and shown.get(one.approval_id) != one.state:
                shown[one.approval_id] = one.state
                _show(app, one)
    note("the daemon has been stopped")


def _show(app: App, one: ApprovalInfo) -> None:
    if app.json:
        app.emit_line(one)
    else:
        print(*_lines(one), sep="\n", flush=True)


def _lines(one: ApprovalInfo) -> Iterator[str]:
    """Describe a question: who, what, why, and all of the command, for nothing may be allowed unread."""
    name = output.style(one.approval_id, "bold")
    if one.state != "pending":
        by = f" by {printable(one.decided_by)}" if one.decided_by else ""
        said = f": {printable(one.reason)}" if one.reason else ""
        when = output.clock(one.decided_at_ms or one.asked_at_ms)
        yield f"{name}  {output.style(one.state, STYLES[one.state])}{by} at {when}{said}"
        return
    who = "an agent" if one.profile is not None else "a person or script"
    named = f" ({printable(one.client_id)})" if one.client_id else ""
    left = output.duration(one.expires_at_ms - time.time() * 1000)
    yield f"{name}  {output.style('waits', 'yellow')} since {output.ago(one.asked_at_ms)}, {left} left"
    yield f"{INDENT}{who}{named}, {printable(one.principal)}, wants {printable(one.operation)}" + _where(one)
    for line in (one.command or "").splitlines() or [""]:
        yield f"{INDENT}{output.style('│', 'dim')} {output.style(printable(line, 20_000), 'bold')}"
    if one.justification:
        yield f"{INDENT}it says: {printable(one.justification, 4096)}"
    for match in one.matches:
        yield f"{INDENT}{output.style(f'{match.rule}: {printable(match.reason)}', 'yellow')}"
    if not one.matches:
        yield f"{INDENT}asked about by the rule {printable(one.rule)}"


def _where(one: ApprovalInfo) -> str:
    session = f" in session {one.session_id}" if one.session_id else ""
    place = f" in {printable(one.cwd)}" if one.cwd else ""
    owner = f" for {printable(one.owner)}" if one.owner else ""
    return f"{session}{place}{owner}"
