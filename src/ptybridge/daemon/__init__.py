"""The composition root: builds a daemon, runs it, and hands its work over to the next one."""

from ptybridge.daemon.composition import Daemon
from ptybridge.daemon.process import serve

__all__ = ["Daemon", "serve"]
