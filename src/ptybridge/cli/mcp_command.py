"""The command `mcp` with all its options; see `mcp` for the way it usually goes."""

import os

import click

from ptybridge.cli.app import App
from ptybridge.cli.command import command
from ptybridge.cli.mcp import LEVELS, TOOLS, relay, speaker, usual_level
from ptybridge.cli.mcp_daemon import PrivateDaemon, UsersDaemon, request


@command(
    "mcp",
    example="""
    ptybridge mcp
    ptybridge mcp --tools agent
    ptybridge mcp --isolated
    claude mcp add terminal -- ptybridge mcp
    """,
    exits="""
    0 when the client has closed standard input, 128 + the signal's number after a signal
    """,
    json=False,
)
@click.option("--isolated", is_flag=True, help="Use a daemon of its own; it and its sessions end with the client.")
@click.option("--tools", type=click.Choice(TOOLS), default="all", help="Which tools to offer (default: all).")
@click.option("--log-level", type=click.Choice(LEVELS), help="What to say on standard error (default: error).")
def mcp_command(app: App, isolated: bool, tools: str, log_level: str | None) -> int:
    """Give an AI agent the sessions, as an MCP server on standard input and output.

    Not for a terminal: an MCP client starts it (docs/agents.md has the configurations). The agent sees the same
    sessions as you; attach to one to watch. Sessions get this command's environment and directory, and outlive the
    client.
    """
    say = speaker(log_level or usual_level())
    line = request(tools, os.environ)
    if not isolated:
        config = app.config
        return relay(UsersDaemon(config.paths.socket, line, config), say)
    daemon = PrivateDaemon(app.config, line, os.environ)
    try:
        return relay(daemon, say)
    finally:
        daemon.close()
