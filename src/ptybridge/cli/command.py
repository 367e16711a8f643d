"""How commands are declared: a click command with an example in its help, and the options all of them have.

The options for the whole program (`--socket` and so on) are accepted before and behind the command's name, because
nobody remembers which it was; the help shows them once, with the program.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

from ptybridge.cli.app import App
from ptybridge.errors import PtybridgeError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# Of a command's help the first sentence is its summary, and stands there whole.
SUMMARY_CHARS: Final = 400

F = TypeVar("F", bound=Callable[..., Any])


class Group(click.Group):
    """A command whose first word is another command; with examples in its help."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may have been meant."""
        if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            no_such_command(ctx, args[0], self.commands)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with what they do, in as many lines as that takes."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(name)) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Offer the commands and options that begin so."""
        from click.shell_completion import CompletionItem

        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        found = [CompletionItem(name, help=self._summary(name)) for name in names]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def _summary(self, name: str) -> str:
        return self.commands[name].get_short_help_str(SUMMARY_CHARS)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples just as they are typed."""
        with formatter.section("Examples"):
            for line in self.example.strip().splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line.strip()}\n")


class Command(click.Command):
    """A command with examples and, where it departs from the usual, exit codes in its help."""

    def __init__(self, *args: Any, example: str = "", exits: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.exits = exits

    def invoke(self, ctx: click.Context) -> Any:
        """Run it. The hint of an error names its options."""
        try:
            return super().invoke(ctx)
        except PtybridgeError as exc:
            from ptybridge.cli.wording import in_options

            exc.hint = in_options(exc.hint, self.params)
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples just as they are typed."""
        for heading, text in (("Exit codes", self.exits), ("Examples", self.example)):
            if text:
                with formatter.section(heading):
                    for line in text.strip().splitlines():
                        formatter.write(f"{'':>{formatter.current_indent}}{line.strip()}\n")


def no_such_command(ctx: click.Context, word: str, known: Iterable[str]) -> NoReturn:
    """Refuse a command line whose first word is none of the commands."""
    from ptybridge.mistakes import near

    ctx.fail(f"there is no command {word!r}{near(word, known)}")


def _into_app(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        app = ctx.find_object(App)
        if app is not None and value is not None and value is not False:
            app.flags[key] = value

    return keep


def _config_file(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    app = ctx.find_object(App)
    if app is not None and value:
        app.config_file = value


def _no_autostart(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    app = ctx.find_object(App)
    if app is not None and value:
        app.flags["daemon.autostart"] = False


def _json(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    app = ctx.find_object(App)
    if app is not None and value:
        app.json = True


def _options(*, hidden: bool) -> list[Callable[[F], F]]:
    return [
        click.option("--socket", metavar="PATH", expose_value=False, callback=_into_app("paths.socket"),
                     hidden=hidden, help="The daemon's socket."),
        click.option("--config", metavar="FILE", expose_value=False, callback=_config_file,
                     hidden=hidden, help="The configuration file."),
        click.option("--no-autostart", is_flag=True, expose_value=False, callback=_no_autostart,
                     hidden=hidden, help="Fail when no daemon runs, instead of starting one."),
    ]  # fmt: skip


def global_options(function: F) -> F:
    """Add the options of the whole program."""
    for option in reversed(_options(hidden=False)):
        function = option(function)
    return function


def command(name: str, *, example: str, exits: str = "", json: bool = True) -> Callable[[F], Command]:
    """Declare a command; the function gets the `App` first. Its docstring is the help."""

    def declare(function: F) -> Command:
        wrapped: Any = click.pass_obj(function)
        for option in reversed(_options(hidden=True)):
            wrapped = option(wrapped)
        if json:
            wrapped = click.option(
                "--json", is_flag=True, expose_value=False, callback=_json, help="Print JSON."
            )(wrapped)  # fmt: skip
        made: Command = click.command(name, cls=Command, example=example, exits=exits)(wrapped)
        return made

    return declare
