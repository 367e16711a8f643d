"""Errors in the words of the command line: a daemon's hints name parameters, click's messages its own types."""

import re
from collections.abc import Iterable
from typing import Final

import click

# Parameters that the options of our commands call otherwise.
_RENAMED: Final = {"overwrite": "force"}
# Operations that have a command of another name.
_COMMANDS: Final = {"session.write": "ptybridge send", "session.signal": "ptybridge signal"}
_KINDS: Final = {"integer": "whole number", "integer range": "whole number", "float": "number", "float range": "number"}
# Words of tmux, screen, docker and the shell for what has another name here.
_ELSEWHERE: Final = {
    "attach": "a at attach-session resume fg",
    "close": "kill kill-session kill-pane rm remove delete del end terminate",
    "info": "show inspect describe display-message",
    "kick": "detach-client",
    "keys": "press",
    "ls": "list list-sessions ps sessions",
    "new": "start create new-session spawn",
    "paste": "paste-buffer",
    "rename": "rename-session mv",
    "resize": "resize-window resize-pane",
    "run": "exec",
    "screen": "capture capture-pane hardcopy",
    "send": "send-keys write type stuff",
    "stop": "kill-server shutdown quit",
    "tail": "logs log cat output follow",
    "wait": "wait-for",
}


def other_name(word: str) -> str | None:
    """Return what we call the command that is called `word` elsewhere."""
    return next((ours for ours, theirs in _ELSEWHERE.items() if word in theirs.split()), None)


def in_options(hint: str | None, params: Iterable[click.Parameter]) -> str | None:
    """Name options and commands where the hint names parameters and operations: "give `recursive`" → `--recursive`."""
    if hint is None:
        return None
    options = {one.name: max(one.opts, key=len) for one in params if isinstance(one, click.Option)}

    def option(found: re.Match[str]) -> str:
        name = str(found[1])
        return f"`{options.get(name) or options.get(_RENAMED.get(name, name), name)}`"

    hint = re.sub(r"`(\w+\.\w+)`", lambda found: f"`{_COMMANDS.get(found[1], found[1])}`", hint)
    return re.sub(r"`(\w+)`", option, hint)


def worded(message: str) -> str:
    """Say of a value that it is no number, where click says what it is not a valid range of."""
    return re.sub(r"is not a valid (\w+(?: range)?)\.$", lambda kind: f"is no {_KINDS.get(kind[1], kind[1])}", message)
