"""`lease`: who may write to a session, taking that right, giving it back, handing it on."""

import click

from ptybridge.api.lease import (
    ACQUIRE,
    GET,
    HANDOFF,
    RELEASE,
    TAKEOVER,
    Acquire,
    GetLease,
    Handoff,
    LeaseChange,
    LeaseInfo,
    Release,
    Takeover,
)
from ptybridge.cli import output
from ptybridge.cli.app import App
from ptybridge.cli.command import command
from ptybridge.cli.identity import NAME_VARIABLE, client_name
from ptybridge.cli.targets import find_id, target_argument
from ptybridge.text import printable

_DONE = {
    "acquire": "acquired by {to}",
    "release": "given back by {of}",
    "handoff": "handed by {of} to {to}",
    "takeover": "taken over by {to} from {of}",
}


@command(
    "lease",
    example="""
    ptybridge lease status build
    ptybridge lease acquire build
    ptybridge lease handoff build --to pts/3 --reason 'your turn'
    ptybridge lease takeover build --reason 'it went astray'
    ptybridge lease release build
    """,
    exits="""
    0 done; 2 when something has to be said first; 3 for no such session;
    5 when another client has it, or it is not yours to take
    """,
)
@click.argument("action", type=click.Choice(["status", "acquire", "release", "handoff", "takeover"]))
@target_argument()
@click.option("--to", "successor", metavar="CLIENT", help="With handoff: who gets it.")
@click.option("--from", "holder", metavar="CLIENT", help="With takeover: who must have it; by default whoever does.")
@click.option("--reason", metavar="TEXT", help="With handoff and takeover: why; others read it.")
@click.option("--as", "name", metavar="CLIENT", help="Who you are; by default your terminal, such as pts/3.")
def lease_command(
    app: App,
    action: str,
    target: str,
    successor: str | None,
    holder: str | None,
    reason: str | None,
    name: str | None,
) -> None:
    """Hold the exclusive right to write to the session TARGET; everybody else watches meanwhile.

    Everything you type at one terminal is one client: `send`, `keys` and `attach` there go on working. A script
    without a terminal names itself with --as and PTYBRIDGE_CLIENT_ID.
    """
    if action == "handoff" and successor is None:
        raise click.UsageError("say who gets it: --to CLIENT (`ptybridge clients` shows who is there)")
    if successor is not None and action != "handoff":
        raise click.UsageError("--to goes with handoff")
    if holder is not None and action != "takeover":
        raise click.UsageError("--from goes with takeover")
    if reason is not None and action not in ("handoff", "takeover"):
        raise click.UsageError("--reason goes with handoff and takeover")
    session_id = find_id(app, target)
    if action == "status":
        _show(app, app.call(GET, GetLease(session_id=session_id)))
        return
    me = name or client_name()
    if me is None:
        raise click.UsageError(f"there is no terminal to name you by: give --as CLIENT, or set {NAME_VARIABLE}")
    match action:
        case "acquire":
            changed = app.call(ACQUIRE, Acquire(session_id=session_id, client_id=me))
        case "release":
            changed = app.call(RELEASE, Release(session_id=session_id, client_id=me))
        case "handoff":
            assert successor is not None
            why = _required(reason)
            params = Handoff(session_id=session_id, target_client_id=successor, reason=why, client_id=me)
            changed = app.call(HANDOFF, params)
        case _:
            changed = _take_over(app, session_id, me, holder, reason)
    if app.json:
        app.emit(changed)
    elif not changed.changed:
        print("nothing changed")
    else:
        others = [one for one in changed.affected_session_ids if one != session_id]
        print(_last(changed.lease) + (f"; with it those of {', '.join(others)}" if others else ""))


def _take_over(app: App, session_id: str, me: str, holder: str | None, reason: str | None) -> LeaseChange:
    now = app.call(GET, GetLease(session_id=session_id))
    if now.client_id is None and holder is None:
        return app.call(ACQUIRE, Acquire(session_id=session_id, client_id=me))
    why = "its holder was gone" if reason is None and now.holder_gone else _required(reason)
    taken_from = holder or now.client_id or me
    params = Takeover(session_id=session_id, from_client_id=taken_from, reason=why, client_id=me)
    return app.call(TAKEOVER, params)


def _required(reason: str | None) -> str:
    if reason is None or not reason.strip():
        raise click.UsageError("say why with --reason; others read it")
    return reason


def _show(app: App, lease: LeaseInfo) -> None:
    if app.json:
        app.emit(lease)
        return
    if lease.client_id is None:
        print("free: everybody may write")
    else:
        gone = ", which is not connected any more" if lease.holder_gone else ""
        print(f"held by {printable(lease.client_id)}{gone}")
    if lease.last is not None:
        reason = f": {printable(lease.last.reason)}" if lease.last.reason else ""
        print(f"{_last(lease)} {output.ago(lease.last.at_ms)} ago{reason}")
    others = [one for one in lease.workspace_session_ids if one != lease.session_id]
    if lease.workspace is not None and others:
        print(f"workspace {printable(lease.workspace)}: {', '.join(others)} go with it")


def _last(lease: LeaseInfo) -> str:
    last = lease.last
    if last is None:
        return "never held"
    return _DONE[last.event].format(of=printable(last.from_client_id or ""), to=printable(last.to_client_id or ""))
