"""`mcp`: the daemon's sessions for an AI agent, over standard input and output.

How it works: when everything is usual (no options but --tools and --log-level, no configuration file, a daemon that
answers), `quick_mcp` does it with the standard library alone, since click and msgspec take longer to import than a
call takes to be answered. Everything else goes through the command in `mcp_command`. Both end in `Pipe`.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final, NoReturn

from ptybridge.cli.mcp_daemon import UsersDaemon, request
from ptybridge.cli.mcp_pipe import Pipe, Say, Source
from ptybridge.errors import PtybridgeError

TOOLS: Final = ("core", "agent", "all")
LEVELS: Final = ("debug", "info", "warning", "error")


def quick_mcp(options: Sequence[str]) -> int | None:
    """Do `mcp` with --tools and --log-level at most; return the exit code, None when that takes the whole program."""
    from ptybridge.cli.quick import socket_path

    if len(options) % 2:
        return None
    given = dict(zip(options[::2], options[1::2], strict=True))
    tools, level = given.pop("--tools", "all"), given.pop("--log-level", usual_level())
    path = socket_path()
    if given or tools not in TOOLS or level not in LEVELS or path is None or not os.path.exists(path):
        return None
    say = speaker(level)
    try:
        return relay(UsersDaemon(path, request(tools, os.environ)), say)
    except PtybridgeError as exc:
        from ptybridge.cli.exits import exit_code_of

        say("error", f"{exc.message} ({exc.hint})" if exc.hint else exc.message)
        return exit_code_of(exc)


def relay(source: Source, say: Say) -> int:
    """Be the pipe until the client has gone or a signal ends us; return the exit code."""
    signal.signal(signal.SIGTERM, _leave)
    return Pipe(source, say).run()


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def usual_level() -> str:
    """Return the level `PTY_MCP_LOG` asks for; without it, failures only."""
    asked = os.environ.get("PTYBRIDGE_MCP_LOG", os.environ.get("PTY_MCP_LOG", "")).lower()
    level = "warning" if asked == "warn" else asked
    return level if level in LEVELS else "error"


def speaker(level: str) -> Say:
    """Return what prints lines of at least this level to standard error; standard output is the client's."""
    as_json = os.environ.get("PTYBRIDGE_MCP_LOG_FORMAT", os.environ.get("PTY_MCP_LOG_FORMAT", "")).lower() == "json"

    def say(of: str, text: str) -> None:
        if LEVELS.index(of) < LEVELS.index(level):
            return
        if as_json:
            import json

            text = json.dumps({"ts": round(time.time(), 3), "level": of, "pid": os.getpid(), "msg": text})
        else:
            text = f"ptybridge: {text}"
        print(text, file=sys.stderr, flush=True)

    return say
