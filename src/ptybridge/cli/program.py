"""The commands: finds the one that is wanted, imports only what that needs, and turns errors into exit codes.

How it works: `COMMANDS` names the module of each command, so that `--help` needs to import none of them and every
command just its own. Errors end here, as one line and a hint; nothing else in `cli/` catches them to print them.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn

import click

from ptybridge import __version__
from ptybridge.cli.app import App
from ptybridge.cli.command import global_options, no_such_command
from ptybridge.cli.exits import EXIT_INTERRUPTED, EXIT_USAGE, exit_code_of
from ptybridge.cli.unwritten import unwritten
from ptybridge.errors import PtybridgeError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# name: (module below ptybridge.cli, what it does); a heading starts a new group in the help.
COMMANDS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "Sessions": {
        "new": ("new", "Start a program as a session, and attach to it."),
        "attach": ("enter", "Be on a session, as if it ran in this terminal."),
        "ls": ("listing", "List the sessions."),
        "run": ("run", "Run a program as a session and leave with its status."),
        "info": ("listing", "Show everything about a session."),
        "close": ("control", "End sessions and forget them."),
    },
    "Input and output": {
        "send": ("input", "Send text to a session."),
        "keys": ("input", "Press keys in a session."),
        "paste": ("input", "Paste text into a session."),
        "read": ("reading", "Print what a session has printed."),
        "tail": ("reading", "Print the end of what a session has printed, and follow it."),
        "screen": ("reading", "Print what a session's terminal shows."),
        "search": ("history", "Find lines in what a session has printed."),
        "history": ("history", "List the commands that ran in a session's shell."),
        "wait": ("waiting", "Wait until something holds in a session."),
        "expect": ("expect", "Play a scripted dialogue with a program."),
    },
    "Control": {
        "rename": ("control", "Give a session another name."),
        "resize": ("control", "Set the size of a session's terminal."),
        "signal": ("control", "Send a signal to a session's programs."),
        "clients": ("clients", "List who is attached to a session."),
        "lease": ("lease", "Show, take or give back the right to write to a session."),
        "kick": ("clients", "Remove a client from a session."),
        "secrets": ("secrets", "Answer requests for passwords and other secrets."),
        "approvals": ("approvals", "Answer what agents must not do unasked."),
        "events": ("events", "Print what happens, as it happens."),
    },
    "Files": {
        "cp": ("copying", "Copy a file between here and the daemon's side."),
        "file": ("file", "List, read, write and change files on the daemon's side."),
    },
    "Over the network": {
        "open": ("open", "Open the sessions in a browser."),
        "cert": ("cert", "Make a certificate for the web front."),
        "key": ("key", "Make, list and end keys for scripts and other people."),
        "share": ("share", "Show the session that is shared, and make links to it."),
    },
    "The daemon": {
        "serve": ("serve", "Run the daemon in the foreground."),
        "status": ("node", "Show whether the daemon runs and is well."),
        "restart": ("node", "Replace the daemon by a fresh one."),
        "stop": ("node", "Stop the daemon."),
        "upgrade": ("upgrade", "Bring daemon and keeper to the installed version."),
        "service": ("service", "Let systemd run the daemon and the keeper."),
        "doctor": ("doctor", "Look for what is wrong, and say what to do."),
    },
    "Other": {
        "mcp": ("mcp_command", "Give an AI agent the sessions, as an MCP server."),
        "call": ("call", "Call any operation."),
        "ops": ("call", "List the operations that can be called."),
        "policy": ("policy", "Tell what the rules say of a command."),
        "config": ("configuration", "Show the configuration and where it comes from."),
        "completion": ("completion", "Print the completion script of a shell."),
        "reset": ("enter", "Give back a terminal that a killed attach has left in disorder."),
        "version": ("node", "Print the version."),
    },
}
NAME_WIDTH: Final = 10  # that the groups line up
MODULES: Final = {name: entry[0] for group in COMMANDS.values() for name, entry in group.items()}


class Program(click.Group):
    """The group of all commands, each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; `signal` is the function `signal_command`, so that modules may use the word."""
        if cmd_name not in MODULES:
            return None
        module = import_module(f"ptybridge.cli.{MODULES[cmd_name]}")
        found: click.Command = getattr(module, f"{cmd_name}_command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may have been meant."""
        # Completion only looks, also behind a word that is none of ours.
        if args and args[0] not in MODULES and not args[0].startswith("-") and not ctx.resilient_parsing:
            from ptybridge.cli.wording import other_name

            if (ours := other_name(args[0])) is not None:
                ctx.fail(f"there is no command {args[0]!r}; it is called {ours!r} here")
            if args[0] == "detach":
                ctx.fail("there is no command 'detach': on a session press Ctrl-\\ and then d")
            no_such_command(ctx, args[0], MODULES)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in their groups, without importing them."""
        for heading, commands in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(NAME_WIDTH), summary) for name, (_, summary) in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Offer the commands and options that begin so, without importing the commands."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=summary)
            for commands in COMMANDS.values()
            for name, (_, summary) in commands.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="COMMAND …",
)
@global_options
@click.version_option(__version__, message="ptybridge %(version)s")
@click.pass_context
def program(ctx: click.Context) -> None:
    """Programs as sessions that people, scripts and agents share.

    A session keeps running when you leave it: start one with `new`, leave with Ctrl-\\ d, come back with `attach`.
    The daemon that keeps the sessions starts by itself. TARGET is a session's id, the beginning of one, or its name.
    """


# The arguments that are a command line of the user's.
COMMAND_LINES: Final = {"command", "words"}


def run(arguments: Sequence[str]) -> int:
    """Run a command line; return the exit code. Messages have been printed."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except OSError as exc:
        return unwritten(exc)
    return code


def _run(arguments: Sequence[str]) -> int:
    app = App()
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    try:
        with program.make_context("ptybridge", list(arguments), obj=app) as ctx:
            result = program.invoke(ctx)
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.exceptions.NoArgsIsHelpError as exc:
        print(exc.ctx.get_help(), file=sys.stderr)
        return EXIT_USAGE
    except click.UsageError as exc:
        from ptybridge.cli.wording import worded

        complain(worded(exc.format_message()), _usage_hint(exc))
        return EXIT_USAGE
    except click.ClickException as exc:
        complain(exc.format_message())
        return EXIT_USAGE
    except PtybridgeError as exc:
        complain(exc.message, exc.hint)
        return exit_code_of(exc)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    finally:
        app.close()
    return result if isinstance(result, int) else 0


def _usage_hint(error: click.UsageError) -> str | None:
    if error.ctx is None:
        return None
    # `run ls -l`: as elsewhere, but the option is taken for ours.
    of_command = any(one.nargs == -1 and one.name in COMMAND_LINES for one in error.ctx.command.params)
    if isinstance(error, click.NoSuchOption) and of_command:
        return "what belongs to CMD comes behind `--`, as in `ptybridge run -- ls -l`"
    return f"see `{error.ctx.command_path} --help`"


def complain(message: str, hint: str | None = None) -> None:
    """Say what went wrong, and what to do about it."""
    from ptybridge.text import printable

    print(f"ptybridge: {printable(message, 2000)}", file=sys.stderr)
    if hint:
        print(f"  hint: {printable(hint, 2000)}", file=sys.stderr)


def complete() -> NoReturn:
    """Answer the shell that completes a command line."""
    program.main(prog_name="ptybridge")
    raise SystemExit(0)
