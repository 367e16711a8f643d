"""TARGET: how people name a session. The operations take ids only, so that a script never hits the wrong one."""

from collections.abc import Callable
from typing import Any, Final

import click

from ptybridge.api.session import LIST, List, SessionInfo
from ptybridge.cli.app import App
from ptybridge.errors import Conflict, PtybridgeError, SessionNotFound

# A shell's completion must not make the user wait.
COMPLETION_SECONDS: Final = 1.0


def find(app: App, target: str) -> SessionInfo:
    """Return the session that `target` names: by id, else by name, else by the beginning of its id.

    Running sessions come before exited ones, of which the latest counts. Raises `SessionNotFound`, and `Conflict`
    when more than one is meant.
    """
    sessions = app.call(LIST, List()).sessions
    for session in sessions:
        if session.session_id == target:
            return session
    for matching in (
        [one for one in sessions if one.name == target],
        [one for one in sessions if target and one.session_id.startswith(target)],
    ):
        running = [one for one in matching if one.state == "running"]
        if len(running) > 1:
            ids = ", ".join(one.session_id for one in running[:5])
            raise Conflict(f"{target!r} could be any of {ids}", hint="use the whole id")
        if matching:
            return (running or matching)[-1]
    raise SessionNotFound(f"there is no session {target!r}")


def find_id(app: App, target: str) -> str:
    """Return the id of the session that `target` names."""
    return find(app, target).session_id


def latest(app: App) -> SessionInfo:
    """Return the running session that was active last. Raises `SessionNotFound` without any."""
    running = app.call(LIST, List(state="running")).sessions
    if not running:
        raise SessionNotFound("there is no running session", hint="start one with `ptybridge new`")
    return max(running, key=lambda one: one.last_active_at_ms)


def complete_target(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Offer the names of sessions, and the ids that begin so."""
    from click.shell_completion import CompletionItem

    app = ctx.find_object(App) or App()
    try:
        with app.reconnect() as connection:
            sessions = connection.call(LIST, List(), timeout=COMPLETION_SECONDS).sessions
    except PtybridgeError:
        return []
    words = [(one.name or one.session_id, one) for one in sessions]
    words += [(one.session_id, one) for one in sessions if one.name and incomplete]
    return [
        CompletionItem(word, help=" ".join(one.command)[:60].replace("\n", " "))
        for word, one in words
        if word.startswith(incomplete)
    ]


def target_argument(name: str = "target", **kwargs: Any) -> Callable[[Any], Any]:
    """Declare the argument TARGET, with completion."""
    return click.argument(name, shell_complete=complete_target, **kwargs)
