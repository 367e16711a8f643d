"""Putting the configuration together, and where each value came from.

Four sources, each stronger than the one before: the defaults, the TOML file, `PTYBRIDGE_*` variables, flags.
"""

import os
from collections.abc import Mapping
from typing import NoReturn

import msgspec

from ptybridge.config.file import read_file
from ptybridge.config.settings import (
    KEYS,
    LISTS,
    MAX_SOCKET_PATH_BYTES,
    OTHER_VARIABLES,
    SECTIONS,
    VARIABLES,
    Config,
    Loaded,
)
from ptybridge.errors import ConfigInvalid
from ptybridge.mistakes import divided, near, plain


def load(env: Mapping[str, str], flags: Mapping[str, object] | None = None, file: str | None = None) -> Loaded:
    """Put the configuration together from `file` (else $PTYBRIDGE_CONFIG, else the user's), `env` and `flags`.

    `flags` has dotted names; None stands for a flag that was not given. Raises ConfigInvalid, naming the place.
    """
    origins = dict.fromkeys(KEYS, "default")
    merged: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}

    def put(key: str, value: object, origin: str) -> None:
        section, _, name = key.partition(".")
        merged[section][name] = value
        origins[key] = origin

    path = config_file(env, file)
    for key, value, line in read_file(path, must_exist=bool(file or env.get("PTYBRIDGE_CONFIG"))):
        if key in KEYS:
            put(key, value, f"{path}:{line}")
        else:
            origins[key] = f"{path}:{line}"
    for variable, key in VARIABLES.items():
        if env.get(variable):
            value = env[variable]
            put(key, value.split(LISTS[key]) if key in LISTS else value, f"environment {variable}")
    for key, value in (flags or {}).items():
        if value is not None:
            put(key, value, "flag")
    _derive_paths(env, merged["paths"], origins)
    try:
        # Variables are text, so "1" must do for a number; what the file holds has been checked strictly before.
        config = msgspec.convert(merged, Config, strict=False)
    except msgspec.ValidationError as exc:
        _refuse_value(exc, origins)
    return Loaded(config=config, origins=origins, warnings=_unknown_variables(env), file=path)


def config_file(env: Mapping[str, str], file: str | None = None) -> str:
    """Return the path of the configuration file, which need not exist."""
    chosen = file or env.get("PTYBRIDGE_CONFIG")
    if chosen:
        return os.path.abspath(os.path.expanduser(chosen))
    return os.path.join(_base_directory(env, "XDG_CONFIG_HOME", ".config"), "ptybridge", "config.toml")


# -- paths --------------------------------------------------------------------------------------------------


def _base_directory(env: Mapping[str, str], variable: str, below_home: str) -> str:
    """Resolve an XDG directory; the specification wants relative ones ignored."""
    value = env.get(variable, "")
    if os.path.isabs(value):
        return value
    return os.path.join(env.get("HOME") or os.path.expanduser("~"), below_home)


def _derive_paths(env: Mapping[str, str], paths: dict[str, object], origins: dict[str, str]) -> None:
    """Fill in the paths that nobody set, and make the others absolute."""
    for name, value in paths.items():
        if isinstance(value, str):
            paths[name] = _absolute(value, f"paths.{name}", origins)
    if not paths.get("state_dir"):
        paths["state_dir"] = os.path.join(_base_directory(env, "XDG_STATE_HOME", ".local/state"), "ptybridge")
    runtime = env.get("XDG_RUNTIME_DIR", "")
    derived = "environment XDG_RUNTIME_DIR" if os.path.isabs(runtime) else origins["paths.state_dir"]
    if not paths.get("runtime_dir"):
        paths["runtime_dir"] = os.path.join(runtime, "ptybridge") if os.path.isabs(runtime) else paths["state_dir"]
        origins["paths.runtime_dir"] = derived
    if not paths.get("tmux_dir"):
        # As tmux does: sockets of all a user's servers in one directory, which TMUX_TMPDIR names the parent of.
        parent = env.get("TMUX_TMPDIR", "")
        paths["tmux_dir"] = (
            os.path.join(parent, f"ptybridge-{os.geteuid()}")
            if os.path.isabs(parent)
            else os.path.join(str(paths["runtime_dir"]), "tmux")
        )
        origins["paths.tmux_dir"] = "environment TMUX_TMPDIR" if os.path.isabs(parent) else origins["paths.runtime_dir"]
    if not paths.get("socket"):
        paths["socket"] = os.path.join(str(paths["runtime_dir"]), "daemon.sock")
        origins["paths.socket"] = origins["paths.runtime_dir"]
    length = len(os.fsencode(str(paths["socket"])))
    if length > MAX_SOCKET_PATH_BYTES:
        raise ConfigInvalid(
            f"the socket's path is {length} bytes long, {MAX_SOCKET_PATH_BYTES} are possible: {paths['socket']} "
            f"({origins['paths.socket']})",
            hint="set PTYBRIDGE_SOCKET to a shorter path",
        )


def _absolute(value: str, key: str, origins: dict[str, str]) -> str:
    path = os.path.expanduser(value)
    if "\0" in path:
        raise ConfigInvalid(f"{origins[key]}: {key} contains a NUL character")
    # A relative path in the file would mean another place in every directory.
    if path and not os.path.isabs(path) and not origins[key].startswith(("environment", "flag")):
        raise ConfigInvalid(f"{origins[key]}: {key} must be an absolute path, not {value!r}")
    return os.path.abspath(path) if path else ""


# -- mistakes -----------------------------------------------------------------------------------------------


def _refuse_value(exc: msgspec.ValidationError, origins: dict[str, str]) -> NoReturn:
    key = divided(exc)[1].partition("[")[0]
    raise ConfigInvalid(f"{origins.get(key, 'configuration')}: {key}: {plain(exc)}") from None


def _unknown_variables(env: Mapping[str, str]) -> list[str]:
    known = VARIABLES.keys() | OTHER_VARIABLES
    # The settings of `ptybridge mcp` belong to its connection, which checks them; so do those of the SDK.
    theirs = ("PTYBRIDGE_MCP_", "PTYBRIDGE_SDK_")
    strangers = sorted(name for name in env if name.startswith("PTYBRIDGE_") and not name.startswith(theirs))
    strangers = [name for name in strangers if name not in known]
    return [f"{name} is not a variable of ptybridge{near(name, known)}" for name in strangers]
