"""What a shell is offered for the arguments of commands, besides sessions: see `cli.targets`.

Everything is imported when somebody presses Tab, and never on the way of a command.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def paths(kind: str) -> Completer:
    """Leave it to the shell: `kind` is "file" or "dir"."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type=kind)]

    return complete


def _words(known: Callable[[], Iterable[str]]) -> Completer:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        return [CompletionItem(word) for word in known() if word.startswith(incomplete)]

    return complete


def _signals() -> Iterable[str]:
    import signal

    return [one.name.removeprefix("SIG") for one in signal.Signals]


def _keys() -> Iterable[str]:
    from ptybridge.wire.keynames import NAMES

    return [*sorted(NAMES), "ctrl-", "alt-", "shift-"]


def _events() -> Iterable[str]:
    from ptybridge.model import AnyEvent

    return sorted(str(kind.__struct_config__.tag) for kind in AnyEvent.__args__)


def _settings() -> Iterable[str]:
    from ptybridge.config import KEYS

    return KEYS


complete_signal = _words(_signals)
complete_key = _words(_keys)
complete_event = _words(_events)
complete_setting = _words(_settings)
