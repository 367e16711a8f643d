"""`policy`: what the rules say of a command."""

import os

import click

from ptybridge.api.policy import CHECK, Check
from ptybridge.cli import output
from ptybridge.cli.app import App
from ptybridge.cli.command import command
from ptybridge.text import printable

STYLES = {"allow": "green", "ask": "yellow", "deny": "red"}


@command(
    "policy",
    example="""
    ptybridge policy check 'rm -rf ~/build'
    ptybridge policy check --as '' 'make deploy'
    ptybridge policy check -- dd of=/dev/sda
    """,
    exits="""
    0  it is allowed
    1  it is asked about, or denied
    """,
)
@click.argument("action", type=click.Choice(["check"]))
@click.argument("words", nargs=-1, required=True, metavar="CMD…")
@click.option("--as", "profile", default="mcp", metavar="PROFILE", help="For whom: mcp, agents (default); '': people.")
@click.option("--operation", default="session.create", metavar="NAME", help="The operation; session.create by default.")
@click.option("--owner", metavar="O", help="The owner of the session.")
def policy_command(
    app: App, action: str, words: tuple[str, ...], profile: str, operation: str, owner: str | None
) -> int:
    """Tell what the rules say of CMD, without running it or asking anybody.

    One word is a line for a shell, several are a program and its arguments. The rules are part of the configuration
    (`ptybridge config`); the first that fits decides.
    """
    found = app.call(
        CHECK,
        Check(
            command=words[0] if len(words) == 1 else list(words),
            operation=operation,
            cwd=os.getcwd(),
            owner=owner,
            as_profile=profile,
        ),
    )
    if app.json:
        app.emit(found)
    else:
        print(f"{output.style(found.verdict, STYLES[found.verdict])}  by the rule {printable(found.rule)}")
        for match in found.matches:
            print(f"  {match.rule}: {printable(match.reason)}")
    return 0 if found.verdict == "allow" else 1
