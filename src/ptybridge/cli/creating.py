"""What `new` and `run` have in common: from options to the parameters of `session.create`."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from ptybridge.api.session import CREATE, Create, SessionInfo
from ptybridge.cli.app import App
from ptybridge.cli.completing import paths
from ptybridge.errors import PtybridgeError, SpawnFailed
from ptybridge.model import Backend, Overflow

F = TypeVar("F", bound=Callable[..., Any])


def creation_options(function: F) -> F:
    """Add the options that say what to run, where and as what."""
    for option in (
        click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD…]", shell_complete=paths("file")),
        click.option("--idle-timeout", type=click.FloatRange(min=0), metavar="S",
                     help="End the session after S seconds without output."),
        click.option("--tag", "tags", multiple=True, metavar="T", help="A tag; may be repeated."),
        click.option("-e", "--env", "assignments", multiple=True, metavar="K=V",
                     help="Set a variable, or unset it (K alone); may be repeated."),
        click.option("--log-dir", metavar="D", shell_complete=paths("dir"),
                     help="Log the session below this directory; '' for no log."),
        click.option("--cwd", metavar="D", shell_complete=paths("dir"), help="The directory to start in (this one)."),
        click.option("--name", metavar="N", help="A name to find it by."),
        click.option("-c", "shell_command", metavar="CMD", help="A command for the shell, instead of CMD … ."),
    ):  # fmt: skip
        function = option(function)
    return function


def create(
    app: App,
    *,
    command: Sequence[str],
    shell_command: str | None,
    backend: Backend = "pty",
    workspace: str | None = None,
    name: str | None = None,
    cwd: str | None = None,
    assignments: Sequence[str] = (),
    tags: Sequence[str] = (),
    size: tuple[int, int] | None = None,
    idle_timeout: float | None = None,
    max_runtime: float | None = None,
    overflow: Overflow = "drain",
    log_dir: str | None = None,
) -> SessionInfo:
    """Create a session with this process's environment and directory. `size` is (cols, rows)."""
    if command and shell_command is not None:
        raise click.UsageError("give either -c CMD or a command, not both")
    defaults = app.config.session
    env = dict(_assignment(text) for text in assignments)
    if defaults.shell and not command:
        env.setdefault("SHELL", defaults.shell)
    cols, rows = size or (defaults.cols, defaults.rows)
    params = Create(
        command=_checked(command) if command else shell_command,
        backend=backend,
        cwd=_directory(cwd),
        env=env or None,
        caller_env=own_environment(),
        cols=cols,
        rows=rows,
        name=name,
        tags=list(tags),
        max_output_bytes=defaults.max_output_bytes,
        overflow=overflow,
        window_size_policy=defaults.window_size_policy,
        idle_timeout_ms=None if idle_timeout is None else int(idle_timeout * 1000),
        max_runtime_ms=None if max_runtime is None else int(max_runtime * 1000),
        linger_ms=defaults.linger_ms,
        workspace=workspace,
        log_dir=_directory(log_dir) if log_dir else log_dir,
    )
    try:
        return app.call(CREATE, params)
    except SpawnFailed as exc:
        if len(command) == 1 and " " in command[0] and exc.hint is None:
            exc.hint = "that was taken for the name of one program; for a shell's command line use -c"
        raise


def own_environment() -> dict[str, str]:
    """Return this process's environment; what is not UTF-8 cannot travel in JSON and is left out."""
    return {name: value for name, value in os.environ.items() if _is_text(name) and _is_text(value)}


def parse_size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Parse "80x24" for an option; (cols, rows)."""
    if value is None:
        return None
    cols, separator, rows = value.lower().partition("x")
    if not (separator and cols.isdecimal() and rows.isdecimal() and 1 <= int(cols) <= 10_000 >= int(rows) >= 1):
        raise click.BadParameter(f"{value!r} is no size; write it as 80x24")
    return int(cols), int(rows)


def own_size() -> tuple[int, int] | None:
    """Return (cols, rows) of this terminal, None where there is none."""
    if not sys.stdout.isatty():
        return None
    from ptybridge.cli.terminal import window_size

    size = window_size(1)
    return size.cols, size.rows


def _assignment(text: str) -> tuple[str, str | None]:
    name, separator, value = text.partition("=")
    if not name:
        raise click.UsageError(f"--env {text!r} has no name")
    return _checked([name])[0], _checked([value])[0] if separator else None


def _directory(cwd: str | None) -> str | None:
    try:
        here = os.getcwd()
    except OSError:
        if cwd is None or not os.path.isabs(cwd):
            raise PtybridgeError("this directory does not exist any more", hint="give one with --cwd") from None
        here = "/"
    path = os.path.join(here, os.path.expanduser(cwd)) if cwd else here
    return _checked([path])[0]


def _checked(texts: Sequence[str]) -> list[str]:
    for text in texts:
        if not _is_text(text):
            raise click.UsageError(f"{os.fsencode(text)!r} is not UTF-8")
    return list(texts)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
