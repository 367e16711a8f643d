"""`ptybridge ls` in the time of a shell's prompt.

How it works: importing click and msgspec takes four times as long as starting Python, and listing the sessions
needs neither: it is one line to the daemon and one back. So this does it with the standard library alone when
everything is usual (no configuration file, no other option, a daemon that answers), and else leaves it to the
command in `cli.listing`, which knows all the rest. Both print with the functions below.
"""

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptybridge.api.session import SessionInfo

REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"session.list"}\n'
ANSWER_SECONDS = 10.0
# The settings that `socket_path` knows, and what is no setting. Any other variable is for `ptybridge.config`.
VARIABLES = {
    "PTYBRIDGE_SOCKET", "PTYBRIDGE_STATE_DIR", "PTYBRIDGE_RUNTIME_DIR", "PTYBRIDGE_SESSION_ID",
    "PTYBRIDGE_CLIENT_ID", "PTYBRIDGE_CI",
}  # fmt: skip
# Settings of `ptybridge mcp`, which go to the daemon with the connection.
FOR_MCP = "PTYBRIDGE_MCP_"
HEAD = ("ID", "NAME", "STATE", "CLIENTS", "AGE", "COMMAND")
# What a narrow terminal does without, first to last.
SPARE = ("CLIENTS", "AGE")


def list_sessions(options: Sequence[str]) -> int | None:
    """Do `ls` without options or with --json; return the exit code, None when that takes the whole program."""
    as_json = list(options) == ["--json"]
    path = socket_path() if as_json or not options else None
    try:
        answer = _ask(path) if path else None
    except TimeoutError:
        return _give_up()
    if answer is None:
        return None
    import json
    from types import SimpleNamespace

    try:
        if as_json:
            text = json.dumps(json.loads(answer)["result"]["sessions"], indent=2)
        else:
            sessions = json.loads(answer, object_hook=lambda fields: SimpleNamespace(**fields)).result.sessions
            text = "\n".join(session_table(sessions))
    except (ValueError, AttributeError, LookupError, TypeError):
        return None  # an error, or a daemon of another version
    try:
        if text:
            print(text, flush=True)
    except OSError as exc:
        from ptybridge.cli.unwritten import unwritten

        return unwritten(exc)
    return 0


def socket_path() -> str | None:
    """Return the socket's path as `ptybridge.config` would (a test compares them), None when that must decide."""
    env = os.environ
    if any(name.startswith("PTYBRIDGE_") and name not in VARIABLES and not name.startswith(FOR_MCP) for name in env):
        return None
    home = env.get("HOME", "")
    config, state = env.get("XDG_CONFIG_HOME", ""), env.get("XDG_STATE_HOME", "")
    if not home.startswith("/") or os.path.exists(
        os.path.join(config if config.startswith("/") else f"{home}/.config", "ptybridge/config.toml")
    ):
        return None
    given = [env.get(name, "") for name in ("PTYBRIDGE_SOCKET", "PTYBRIDGE_STATE_DIR", "PTYBRIDGE_RUNTIME_DIR")]
    if any(value and not os.path.isabs(value) for value in given):
        return None
    socket, state_dir, runtime_dir = (value and os.path.normpath(value) for value in given)
    if not runtime_dir:
        runtime = env.get("XDG_RUNTIME_DIR", "")
        state_dir = state_dir or os.path.join(state if state.startswith("/") else f"{home}/.local/state", "ptybridge")
        runtime_dir = os.path.join(runtime, "ptybridge") if runtime.startswith("/") else state_dir
    return socket or os.path.join(runtime_dir, "daemon.sock")


def _ask(path: str) -> bytes | None:
    from ptybridge.errors import PtybridgeError
    from ptybridge.sdk.peer import dial, wait_answer

    try:
        with dial(path, ANSWER_SECONDS) as sock:
            sock.settimeout(ANSWER_SECONDS)
            sock.sendall(REQUEST)
            wait_answer(sock, path)
            parts: list[bytes] = []
            while not parts or not parts[-1].endswith(b"\n"):
                part = sock.recv(1 << 20)
                if not part:
                    return None
                parts.append(part)
            return b"".join(parts)
    except TimeoutError:
        raise  # to ask once more would only take longer
    except (PtybridgeError, OSError):
        return None


def _give_up() -> int:
    from ptybridge.cli.exits import exit_code_of
    from ptybridge.cli.program import complain
    from ptybridge.errors import RequestTimeout

    error = RequestTimeout(f"the daemon did not answer session.list within {ANSWER_SECONDS:g} s")
    complain(error.message, "`ptybridge doctor` tells whether it is well")
    return exit_code_of(error)


# -- how sessions are shown ---------------------------------------------------------------------------------


def session_table(sessions: "Sequence[SessionInfo]", *, some: bool = False) -> list[str]:
    """Return the lines of `ls`; without sessions a word for people, and nothing for programs.

    `some`: there may be others, which were not asked for.
    """
    from ptybridge.cli.output import style, table

    if not sessions:
        none = "no such sessions: `ptybridge ls` shows all" if some else "no sessions: `ptybridge new` starts one"
        return [style(none, "dim")] if sys.stdout.isatty() else []

    now = time.time() * 1000
    return table(HEAD, [_row(one, now) for one in sessions], SPARE)


def _row(session: "SessionInfo", now: float) -> list[tuple[str, str]]:
    from ptybridge.cli.output import command_line, duration

    running = session.state == "running"
    return [
        (session.session_id, "bold" if running else "dim"),
        (session.name or "-", "" if running else "dim"),
        state_of(session),
        (str(len(session.clients)) if session.clients else "-", ""),
        (duration(now - session.created_at_ms), ""),
        (command_line(session.command), "" if running else "dim"),
    ]


def state_of(session: "SessionInfo") -> tuple[str, str]:
    """Return a session's state in a word or two, and its colour."""
    if session.state == "running":
        if session.waiting_for_input:
            return "waiting", "yellow"
        return ("prompt", "") if session.shell_integration == "prompt" else ("running", "green")
    if session.exit_signal is not None:
        return session.exit_signal, "red"
    if session.exit_code is None:
        return session.exit_reason or "exited", "red"
    return f"exit {session.exit_code}", "red" if session.exit_code else "dim"
