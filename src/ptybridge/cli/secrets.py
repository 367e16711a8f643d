"""`secrets`: see who asks for a password or another secret, and give it or refuse."""

import sys
import time

import click

from ptybridge.api.secret import DENY, LIST, PROVIDE, DenySecret, ListSecrets, PendingSecret, ProvideSecret
from ptybridge.cli import output
from ptybridge.cli.app import App, note
from ptybridge.cli.command import command
from ptybridge.errors import Conflict, PtybridgeError, SecretNotFound


@command(
    "secrets",
    example="""
    ptybridge secrets
    ptybridge secrets give 1f0c2a9b
    pass show sudo | ptybridge secrets give 1f0c2a9b
    ptybridge secrets deny 1f0c2a9b
    """,
)
@click.argument("action", type=click.Choice(["list", "give", "deny"]), default="list", required=False)
@click.argument("request_id", required=False, metavar="[ID]")
@click.option("--allow-echo", is_flag=True, help="Give it although the session's terminal will show it.")
def secrets_command(app: App, action: str, request_id: str | None, allow_echo: bool) -> None:
    """List the requests for secrets, or `give` one its value, or `deny` it.

    The value is asked for without being shown, or read from standard input when that is no terminal. It goes into the
    session that asks, and is kept nowhere. ID may be the beginning of one, or left out when there is one request.
    """
    requests = app.call(LIST, ListSecrets()).requests
    if action == "list":
        _list(app, requests)
        return
    if request_id is None:
        if len(requests) != 1:
            raise click.UsageError(f"{len(requests)} requests wait; say which one" if requests else "no request waits")
        request_id = requests[0].request_id
    found = _found(requests, request_id)
    request_id = found.request_id
    if action == "deny":
        done = app.call(DENY, DenySecret(request_id=request_id))
        if app.json:
            app.emit(done)
        return
    given = app.call(PROVIDE, ProvideSecret(request_id=request_id, value=_value(found), allow_echo=allow_echo))
    if app.json:
        app.emit(given)
    elif not given.redacted:
        note("the value is too short to be redacted in logs and in what agents see")


def _found(requests: list[PendingSecret], wanted: str) -> PendingSecret:
    """Return the request that an id, or the beginning of one, means: before anybody is asked for its value."""
    # An empty one is the beginning of any: a script whose variable is not set means none.
    fitting = [one for one in requests if wanted and one.request_id.startswith(wanted)]
    if not fitting:
        raise SecretNotFound(f"no request {wanted!r} waits for a secret")
    if len(fitting) > 1:
        raise Conflict(f"{wanted!r} could be any of {', '.join(one.request_id for one in fitting)}")
    return fitting[0]


def _list(app: App, requests: list[PendingSecret]) -> None:
    if app.json:
        app.emit(requests)
        return
    if not requests:
        if sys.stdout.isatty():
            print(output.style("nobody asks for a secret", "dim"))
        return
    head = ("ID", "SESSION", "ASKED BY", "AT", "PROMPT")
    rows = [
        [
            (one.request_id, ""),
            (one.session_name or one.session_id, ""),
            (one.asked_by, "dim"),
            (time.strftime("%H:%M:%S", time.localtime(one.created_at_ms / 1000)), "dim"),
            (one.prompt, ""),
        ]
        for one in requests
    ]
    for line in output.table(head, rows, ("AT", "ASKED BY")):
        print(line)
    for one in requests:
        if one.echo:
            note(f"{one.request_id}: the session's terminal shows what is typed at the moment")


def _value(request: PendingSecret) -> str:
    if not sys.stdin.isatty():
        value = sys.stdin.read().rstrip("\r\n")
    else:
        from getpass import getpass

        from ptybridge.text import printable

        value = getpass(f"{printable(request.prompt, 200) or 'value'}: ")
    if not value:
        raise PtybridgeError("no value was given; the request still waits")
    return value
