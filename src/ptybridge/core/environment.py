"""What a child starts with: its environment, its command line and its working directory.

How it works: the daemon contributes a small base from an allow-list (so that its own configuration and secrets stay
its own), the caller's variables go over it minus those that name other parts of ptybridge or the machinery that
started the caller, then the facts about the terminal we emulate, and last what the caller asked for by name, which
always wins.
"""

import os
import pwd
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ptybridge.errors import InvalidParams

# What the terminal of a session understands; the caller's own terminal does not matter to the child.
TERM: Final = "xterm-256color"
COLORTERM: Final = "truecolor"
# Without a terminal nothing interprets escape sequences.
TERM_WITHOUT_TERMINAL: Final = "dumb"

# Taken from the daemon's own environment: who the user is and how to reach the user's desktop session.
_BASE: Final = frozenset(
    {
        "HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_RUNTIME_DIR",
        "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_DIRS",
        "XDG_SESSION_TYPE", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY",
    }
)  # fmt: skip
# Never taken from a caller: the loader's variables would reach every program started for the child, the others
# are addressed to a process that is not the child (ours, or systemd's talk with a service).
_DENIED_PREFIXES: Final = ("LD_", "DYLD_", "PTYBRIDGE_", "PTY_MCP_", "LISTEN_")
_DENIED: Final = frozenset({"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"})
# Describe the terminal the caller sits at, which is not the one the child gets: programs would ask the wrong tmux,
# use a stale size, or believe in features of another emulator.
_FOREIGN_PREFIXES: Final = (
    "TMUX", "ZELLIJ", "KITTY_", "WEZTERM_", "ITERM_", "ALACRITTY_", "KONSOLE_", "GNOME_TERMINAL_",
)  # fmt: skip
_FOREIGN: Final = frozenset(
    {
        "COLUMNS", "LINES", "STY", "WINDOW", "WINDOWID", "TERMCAP", "TERMINFO", "VTE_VERSION", "TERM_PROGRAM",
        "TERM_PROGRAM_VERSION", "TERM_SESSION_ID", "LC_TERMINAL", "LC_TERMINAL_VERSION", "XTERM_VERSION",
        "INSIDE_EMACS", "SSH_TTY", "GPG_TTY", "_",
    }
)  # fmt: skip
# As execvp(3) does when PATH is unset.
_DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_FALLBACK_SHELL: Final = "/bin/sh"


def child_environment(
    caller: Mapping[str, str] | None,
    overrides: Mapping[str, str | None] | None = None,
    *,
    session_id: str,
    terminal: bool = True,
    daemon: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the complete environment of a child.

    `caller` is what the client had (None when it sent nothing), `overrides` what it asked for by name: None unsets.
    `daemon` is the daemon's own environment (default: `os.environ`). Raises `InvalidParams` for names and values
    that no environment can hold.
    """
    _check(caller or {})
    _check(overrides or {})
    env = _base(os.environ if daemon is None else daemon)
    env.update((name, value) for name, value in (caller or {}).items() if not _denied(name))
    for name in [name for name in env if _foreign(name)]:
        del env[name]
    _ensure_utf8(env)
    if terminal:
        env.update(TERM=TERM, COLORTERM=COLORTERM)
    else:
        env["TERM"] = TERM_WITHOUT_TERMINAL
        env.pop("COLORTERM", None)
    for name, asked in (overrides or {}).items():
        if asked is None:
            env.pop(name, None)
        else:
            env[name] = asked
    env["PTYBRIDGE_SESSION_ID"] = session_id
    return env


def resolve_command(command: str | Sequence[str] | None, env: Mapping[str, str]) -> list[str]:
    """Return the argv to execute: a string is one argument of `$SHELL -c`, a list stays as it is, None is the shell."""
    if command is None:
        return [user_shell(env)]
    if isinstance(command, str):
        argv = [user_shell(env), "-c", command]
        if not command.strip():
            raise InvalidParams("the command is empty")
    else:
        argv = list(command)
        if not argv or not argv[0]:
            raise InvalidParams("the command is empty")
    if any("\0" in argument for argument in argv):
        raise InvalidParams("a command cannot contain NUL")
    return argv


def resolve_cwd(cwd: str | None, caller_cwd: str | None, home: str | None = None) -> str:
    """Return the absolute directory to start in; raise `InvalidParams` with the reason if it is none.

    `~` and `~user` are expanded (`home` is the child's HOME); a relative path is relative to `caller_cwd`.
    Without `cwd` it is `caller_cwd`, without both the home directory.
    """
    home = home or _passwd_home()
    asked = cwd or caller_cwd or home
    if "\0" in asked:
        raise InvalidParams("a path cannot contain NUL")
    if asked == "~" or asked.startswith("~/"):
        asked = home + asked[1:]
    elif asked.startswith("~"):
        asked = os.path.expanduser(asked)
    path = os.path.join(caller_cwd or home, asked)
    # normpath would be wrong here: `link/..` is not the directory that holds `link`.
    try:
        if not Path(path).is_dir():
            os.stat(path)
            raise InvalidParams(f"cannot start in {path}: not a directory")
    except OSError as exc:
        raise InvalidParams(f"cannot start in {path}: {exc.strerror}") from exc
    if not os.access(path, os.X_OK):
        raise InvalidParams(f"cannot start in {path}: {os.strerror(13)}")
    return path


def user_shell(env: Mapping[str, str]) -> str:
    """Return the user's shell: `$SHELL`, else the one of the user database, else /bin/sh; each only if executable."""
    for shell in (env.get("SHELL"), _passwd_shell()):
        if shell and os.path.isabs(shell) and os.access(shell, os.X_OK):
            return shell
    return _FALLBACK_SHELL


def _base(daemon: Mapping[str, str]) -> dict[str, str]:
    env = {name: value for name, value in daemon.items() if name in _BASE or name.startswith("LC_")}
    env.setdefault("PATH", _DEFAULT_PATH)
    try:
        user = pwd.getpwuid(os.getuid())
    except KeyError:
        # A uid without an entry (containers): programs cope with a missing USER, not with a missing HOME.
        env.setdefault("HOME", "/")
        return env
    env.setdefault("HOME", user.pw_dir)
    env.setdefault("USER", user.pw_name)
    env.setdefault("LOGNAME", user.pw_name)
    env.setdefault("SHELL", user.pw_shell or _FALLBACK_SHELL)
    return env


def _denied(name: str) -> bool:
    return name in _DENIED or name.startswith(_DENIED_PREFIXES)


def _foreign(name: str) -> bool:
    return name in _FOREIGN or name.startswith(_FOREIGN_PREFIXES)


def _ensure_utf8(env: dict[str, str]) -> None:
    # The order in which locale(7) looks for the character set.
    name = next((name for name in ("LC_ALL", "LC_CTYPE", "LANG") if env.get(name)), None)
    if name is None:
        env["LANG"] = "C.UTF-8"
    elif "utf8" not in env[name].lower().replace("-", ""):
        # LANG also chooses the language of messages, which stays the caller's.
        env["LC_CTYPE" if name == "LANG" else name] = "C.UTF-8"


def _check(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name:
            raise InvalidParams(f"{name!r} cannot be the name of an environment variable")
        if value is not None and "\0" in value:
            raise InvalidParams(f"the value of the environment variable {name} contains NUL")


def _passwd_home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return os.environ.get("HOME", "/")


def _passwd_shell() -> str | None:
    try:
        return pwd.getpwuid(os.getuid()).pw_shell
    except KeyError:
        return None
