"""Connections as for pty-mcp's tools; these tests call the tools made for agents, without naming an owner."""

from tests.contract.conftest import confirm, daemon, files, rules, settings, socket_path
from tests.mcp.compat.conftest import client, connect, human

__all__ = ["client", "confirm", "connect", "daemon", "files", "human", "rules", "settings", "socket_path"]
