"""Gives an interactive bash, zsh or fish the marks that tell where commands begin and end; see `shell/`.

How it works: the shell is started by way of `/bin/sh`, which opens descriptor 9 with a nonce and executes the shell in
its place. The shell's integration script reads and closes it before any file of the user's runs. So the nonce stands
in no environment, command line or file, where programs that the shell starts could read it. None of the user's files
is touched: bash is given another rcfile (which sources the user's), zsh another ZDOTDIR and fish another data
directory (which each put back the user's first of all).
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

Integration = Literal["auto", "off"]

SCRIPTS: Final = Path(__file__).parent.parent / "shell"
# A here-document is a pipe in dash, busybox and bash ≥ 5.1, so that what was read is gone.
_LAUNCH: Final = 'exec 9<<EOF\n$1\n$2\nEOF\nshift 2; exec "$@"'
_LAUNCHER: Final = "/bin/sh"
_NONCE_BYTES: Final = 16
# What may follow the shell's name: anything else (a script, -c, --norc) asks for something of its own.
_INTERACTIVE: Final = {"-i": False, "--interactive": False, "-l": True, "--login": True, "-il": True, "-li": True}
# fish's own default when the variable is not set: XDG Base Directory Specification.
_DATA_DIRS: Final = "/usr/local/share:/usr/share"


class Launch(msgspec.Struct, frozen=True):
    """What to execute instead, in which environment, and the nonce by which the shell's marks are known."""

    argv: list[str]
    env: dict[str, str]
    nonce: str


def prepare(argv: list[str], env: Mapping[str, str]) -> Launch | None:
    """Return how to start `argv` with marks; None when it is no interactive shell that can have them."""
    shell = os.path.basename(argv[0])
    if shell not in {"bash", "zsh", "fish"} or any(word not in _INTERACTIVE for word in argv[1:]):
        return None
    if not _executable(argv[0], env) or not os.access(_LAUNCHER, os.X_OK):
        return None  # starting it as it is gives the system's own reason
    nonce = secrets.token_hex(_NONCE_BYTES)
    login = any(_INTERACTIVE[word] for word in argv[1:])
    changed = dict(env)
    if shell == "bash":
        command, extra = [argv[0], "--rcfile", str(SCRIPTS / "integration.bash"), "-i"], "login" if login else ""
    elif shell == "zsh":
        command, extra = argv, f"={env['ZDOTDIR']}" if "ZDOTDIR" in env else ""
        changed["ZDOTDIR"] = str(SCRIPTS / "zsh")
    else:
        command, extra = argv, f"={env['XDG_DATA_DIRS']}" if "XDG_DATA_DIRS" in env else ""
        changed["XDG_DATA_DIRS"] = f"{SCRIPTS / 'fish'}:{env.get('XDG_DATA_DIRS') or _DATA_DIRS}"
    if "\n" in extra:
        return None
    return Launch([_LAUNCHER, "-c", _LAUNCH, "ptybridge", nonce, extra, *command], changed, nonce)


def _executable(program: str, env: Mapping[str, str]) -> bool:
    if "/" in program:
        return os.access(program, os.X_OK)
    return any(os.access(Path(place) / program, os.X_OK) for place in env.get("PATH", "").split(":") if place)
