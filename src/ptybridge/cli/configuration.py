"""`config`: what the configuration is, and where each value comes from."""

from collections.abc import Iterator

import click
import msgspec

from ptybridge.cli import output
from ptybridge.cli.app import App
from ptybridge.cli.command import command
from ptybridge.cli.completing import complete_setting
from ptybridge.cli.rules import check_rules
from ptybridge.config import KEYS, TABLES, VARIABLES, Config, config_file, value_of, variable_of
from ptybridge.mistakes import near


@command(
    "config",
    example="""
    ptybridge config
    ptybridge config get socket
    ptybridge config path
    """,
)
@click.argument("action", required=False, type=click.Choice(["get", "path"]))
@click.argument("key", required=False, shell_complete=complete_setting)
def config_command(app: App, action: str | None, key: str | None) -> None:
    """Show every setting, its value, and where that comes from.

    `config get KEY` prints one value, `config path` the file that is read, which need not exist. KEY is a name such
    as attach.prefix; its last part will do where that is unique.
    """
    if (action == "get") != (key is not None):
        raise click.UsageError("write `config`, `config get KEY` or `config path`")
    if action is None:
        check_rules(app.loaded)
    if action == "path":
        import os

        # Also with a mistake in the file: this is how to find it.
        path = config_file(os.environ, app.config_file)
        app.emit(path) if app.json else print(path)
    elif key is not None:
        value = value_of(app.config, _full(key))
        app.emit(value) if app.json else print(_text(value))
    elif app.json:
        app.emit({name: {"value": value_of(app.config, name), "origin": app.loaded.origins[name],
                         "variable": variable_of(name) if name in VARIABLES.values() else None}
                  for name in KEYS})  # fmt: skip
    else:
        origins = app.loaded.origins
        rows = [
            [(name, "bold"), (_text(value) or "-", ""),
             (origins[name], "dim" if origins[name] == "default" else "green")]
            for name, value in _entries(app.config)
        ]  # fmt: skip
        print(*output.table(("SETTING", "VALUE", "FROM"), rows), sep="\n")


def _entries(config: Config) -> Iterator[tuple[str, object]]:
    """Return every setting with its value; each table of a list of tables is an entry of its own."""
    for name in KEYS:
        value = value_of(config, name)
        if name in TABLES and isinstance(value, tuple) and value:
            yield from ((f"{name}.{number}", one) for number, one in enumerate(value, start=1))
        else:
            yield name, value


def _full(key: str) -> str:
    found = [name for name in KEYS if name == key] or [name for name in KEYS if name.rpartition(".")[2] == key]
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(f"{key!r} could be {' or '.join(found)}")
    raise click.UsageError(f"there is no setting {key!r}{near(key, [*KEYS, *(k.rpartition('.')[2] for k in KEYS)])}")


def _text(value: object) -> str:
    """Return a value as one would write it in the file, without quotes."""
    if value is None or value == ():
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
