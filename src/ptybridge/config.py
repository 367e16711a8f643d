"""The configuration: every setting, its default and its limits in one place, and where each value came from.

Four sources, each stronger than the one before: the defaults below, the TOML file, `PTYBRIDGE_*` variables, flags.
Reading it opens that one file and nothing else; tomllib is imported only when the file exists, because this
module lies on the path of every command.
"""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, NoReturn

import msgspec

from ptybridge.errors import ConfigInvalid
from ptybridge.model import Cols, Milliseconds, Rows, SizePolicy

LogLevel = Literal["debug", "info", "warning", "error"]
Verdict = Literal["allow", "ask", "deny"]
Lines = Annotated[int, msgspec.Meta(ge=0, le=100_000)]

AbsolutePath = Annotated[str, msgspec.Meta(pattern=r"^(/|$)", max_length=4096)]

# sun_path holds 108 bytes with the final NUL: unix(7).
MAX_SOCKET_PATH_BYTES: Final = 107


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the sections."""


class Paths(Section, frozen=True):
    """Where things lie; an empty one is derived from the environment by `load`, which leaves none empty."""

    socket: str = ""
    state_dir: str = ""
    runtime_dir: str = ""
    tmux_dir: str = ""

    @property
    def log_file(self) -> str:
        """Where the daemon logs to."""
        return os.path.join(self.state_dir, "daemon.log")


class Daemon(Section, frozen=True):
    """The daemon: how it starts and what it allows. `max_input_bytes` bounds each session's queue of unread input."""

    autostart: bool = True
    keeper: bool = True
    max_sessions: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 2000
    max_exited_sessions: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 200
    exited_retention_ms: Milliseconds = 24 * 60 * 60 * 1000
    max_input_bytes: Annotated[int, msgspec.Meta(ge=4096, le=1 << 30)] = 16 << 20
    max_output_bytes: Annotated[int, msgspec.Meta(ge=64 << 10, le=1 << 30)] = 1 << 30
    max_line_bytes: Annotated[int, msgspec.Meta(ge=64 << 10, le=1 << 30)] = 24 << 20
    max_requests_in_flight: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 256
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1024
    stop_timeout_ms: Annotated[int, msgspec.Meta(ge=100, le=600_000)] = 8000
    log_level: LogLevel = "info"
    log_max_bytes: Annotated[int, msgspec.Meta(ge=4096, le=1 << 30)] = 10 << 20
    log_files: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5


class Session(Section, frozen=True):
    """What a session gets when its creator does not say. Without `shell`, the creator's $SHELL."""

    shell: str | None = None
    cols: Cols = 120
    rows: Rows = 30
    max_output_bytes: Annotated[int, msgspec.Meta(ge=64 << 10, le=1 << 30)] = 1 << 20
    # What tmux keeps too; a flood is parsed the faster the fewer lines of it can remain.
    scrollback_lines: Lines = 2000
    linger_ms: Milliseconds = 500
    window_size_policy: SizePolicy = "latest"
    # Below it each session gets a directory with a log. The limits are each file's.
    log_dir: AbsolutePath | None = None
    log_file_bytes: Annotated[int, msgspec.Meta(ge=64 << 10, le=1 << 40)] = 10 << 20
    log_file_count: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3


class Attach(Section, frozen=True):
    """Being attached: the prefix key ("none" for none), the hint on attaching, scrollback for the native terminal."""

    prefix: Annotated[str, msgspec.Meta(pattern=r"^(ctrl-[a-z@\[\\\]^_]|none)$")] = "ctrl-\\"
    hint: bool = True
    scrollback_lines: Lines = 1000


class PolicyRule(Section, frozen=True, omit_defaults=True):
    """One rule of `[[policy.rule]]`: which actions it speaks of, and what becomes of them.

    A field that is not set fits everything; an empty `profile` or `owner` fits who has none. `operation` may hold `*`;
    `command` is a regular expression (RE2) found anywhere in the command; `dangerous` is the judgement of its parse.
    """

    verdict: Verdict
    name: Annotated[str, msgspec.Meta(max_length=64)] = ""
    operation: Annotated[str, msgspec.Meta(pattern=r"^[a-z_*]+(\.[a-z_*]+)?$")] | None = None
    profile: str | None = None
    owner: str | None = None
    command: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)] | None = None
    dangerous: bool | None = None


class Policy(Section, frozen=True):
    """What is allowed, asked about and refused, and who answers: whoever asks, with a token, or a human."""

    confirm: Literal["caller", "human"] = "caller"
    approval_ttl_ms: Annotated[int, msgspec.Meta(ge=1000, le=24 * 60 * 60 * 1000)] = 10 * 60 * 1000
    rule: tuple[PolicyRule, ...] = ()


class Files(Section, frozen=True):
    """Files for callers who are not the user at the socket: where they may go, and what is kept from them there.

    Without `roots` the home directory. `deny` adds names or relative paths to those that hold credentials.
    """

    roots: tuple[Annotated[str, msgspec.Meta(pattern=r"^[/~]")], ...] = ()
    deny: tuple[str, ...] = ()
    hard_links: bool = True


class Secret(Section, frozen=True):
    """Secrets: a program (with its arguments) that prints the value asked for; without one people are asked."""

    command: list[Annotated[str, msgspec.Meta(min_length=1)]] = []


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole tree."""

    paths: Paths = Paths()
    daemon: Daemon = Daemon()
    session: Session = Session()
    attach: Attach = Attach()
    secret: Secret = Secret()
    policy: Policy = Policy()
    files: Files = Files()


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration with the origin of every value ("default", "FILE:LINE", "environment NAME", "flag").

    Each table of a list of tables has an origin of its own, under `policy.rule.1` and so on.
    """

    config: Config
    origins: dict[str, str]
    warnings: list[str]
    file: str


SECTIONS: Final[dict[str, type[Section]]] = {
    "paths": Paths, "daemon": Daemon, "session": Session, "attach": Attach, "files": Files, "policy": Policy,
    "secret": Secret,
}  # fmt: skip
# In a variable their members are separated as those of $PATH are.
LISTS: Final = frozenset({"files.roots", "files.deny", "secret.command"})
KEYS: Final = tuple(f"{name}.{key}" for name, section in SECTIONS.items() for key in section.__struct_fields__)
# Settings that are lists of tables (`[[policy.rule]]`). Only the file can have them, a variable or flag cannot.
TABLES: Final[dict[str, type[Section]]] = {"policy.rule": PolicyRule}


def variable_of(key: str) -> str:
    """Return the environment variable of a setting: `daemon.log_level` has PTYBRIDGE_DAEMON_LOG_LEVEL.

    Paths go without their section: PTYBRIDGE_SOCKET.
    """
    return "PTYBRIDGE_" + key.removeprefix("paths.").replace(".", "_").upper()


VARIABLES: Final = {variable_of(key): key for key in KEYS if key not in TABLES}
# Read before there is a configuration; set by us for children; who holds leases; set where our tests must not skip.
OTHER_VARIABLES: Final = frozenset({"PTYBRIDGE_CONFIG", "PTYBRIDGE_SESSION_ID", "PTYBRIDGE_CLIENT_ID", "PTYBRIDGE_CI"})


def value_of(config: Config, key: str) -> object:
    """Return the value of a setting by its dotted name."""
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)


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
    for key, value, line in _from_file(path, must_exist=bool(file or env.get("PTYBRIDGE_CONFIG"))):
        if key in KEYS:
            put(key, value, f"{path}:{line}")
        else:
            origins[key] = f"{path}:{line}"
    for variable, key in VARIABLES.items():
        if env.get(variable):
            put(key, env[variable].split(":") if key in LISTS else env[variable], f"environment {variable}")
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


def near(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean …?)" for a misspelt word, or nothing."""
    from difflib import get_close_matches  # only on the way to an error

    found = get_close_matches(word, list(known), n=1)
    return f" (did you mean {found[0]}?)" if found else ""


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


# -- the file -----------------------------------------------------------------------------------------------


def _from_file(path: str, *, must_exist: bool) -> list[tuple[str, object, int]]:
    """Return (dotted key, value, line) of everything the file sets."""
    try:
        with open(path, "rb") as source:
            raw = source.read()
    except FileNotFoundError:
        if must_exist:
            raise ConfigInvalid(f"there is no configuration file {path}") from None
        return []
    except OSError as exc:
        raise ConfigInvalid(f"cannot read the configuration file {path}: {exc.strerror}") from exc
    import tomllib

    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise ConfigInvalid(f"{path}:{line}: this is not UTF-8") from exc
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(exc))
        at = (place and place[1]) or str(len(text.splitlines()))
        raise ConfigInvalid(f"{path}:{at}: {str(exc)[: place.start()] if place else exc}") from exc
    return list(_check_tree(tree, text, path))


def _check_tree(tree: dict[str, Any], text: str, path: str) -> Iterable[tuple[str, object, int]]:
    for name, values in tree.items():
        at = f"{path}:{line_of(text, name)}"
        if name not in SECTIONS:
            owners = [key for key in KEYS if key.endswith(f".{name}")]
            advice = f" (it belongs under [{owners[0].partition('.')[0]}])" if owners else near(name, SECTIONS)
            raise ConfigInvalid(f"{at}: there is no section {name!r}{advice}")
        if not isinstance(values, dict):
            raise ConfigInvalid(f"{at}: {name!r} is a section: write [{name}]")
        known = SECTIONS[name].__struct_fields__
        for key, value in values.items():
            line = line_of(text, name, key)
            if key not in known:
                raise ConfigInvalid(f"{path}:{line}: there is no setting {key!r} in [{name}]{near(key, known)}")
            if f"{name}.{key}" in TABLES:
                line = table_line(text, f"{name}.{key}", 1)
                yield from _check_tables(values[key], text, path, f"{name}.{key}")
            try:
                msgspec.convert({key: value}, SECTIONS[name])
            except msgspec.ValidationError as exc:
                raise ConfigInvalid(f"{path}:{line}: {name}.{key}: {_plain(exc)}") from None
            yield f"{name}.{key}", value, line


def _check_tables(tables: object, text: str, path: str, name: str) -> Iterable[tuple[str, object, int]]:
    """Check a list of tables; yield each one's own key and place, for their origins."""
    kind = TABLES[name]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigInvalid(f"{path}:{table_line(text, name, 1)}: {name!r} is a list of tables: write [[{name}]]")
    for number, table in enumerate(tables, start=1):
        start = table_line(text, name, number)
        for key in table:
            if key not in kind.__struct_fields__:
                at = f"{path}:{table_line(text, name, number, key)}"
                advice = near(key, kind.__struct_fields__)
                raise ConfigInvalid(f"{at}: there is no setting {key!r} in [[{name}]]{advice}")
        try:
            made = msgspec.convert(table, kind)
        except msgspec.ValidationError as exc:
            place = re.search(r" - at `\$\.(\w+)`$", str(exc))
            at = f"{path}:{table_line(text, name, number, place and place[1])}"
            raise ConfigInvalid(f"{at}: {name}{f'.{place[1]}' if place else ''}: {_plain(exc)}") from None
        problem = pattern_problem(made.command) if isinstance(made, PolicyRule) and made.command else ""
        if problem:
            at = f"{path}:{table_line(text, name, number, 'command')}"
            raise ConfigInvalid(f"{at}: {name}.command: not a regular expression: {problem}")
        yield f"{name}.{number}", table, start


def pattern_problem(pattern: str) -> str:
    """Return what is wrong with a regular expression, "" if nothing is."""
    import re2  # only when there is a pattern, for this module lies on the path of every command

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(b"(?m)" + pattern.encode("utf-8", "replace"), options)
    except re2.error as exc:
        return str(exc.args[0].decode(errors="replace").replace("(?m)", "", 1))
    return ""


def table_line(text: str, name: str, number: int, key: str | None = None) -> int:
    """Find the line (from 1) of the header of the `number`th `[[name]]`, or of a key in it; see `line_of`."""
    seen, current, found = 0, "", 0
    for at, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
        if header:
            current = re.sub(r"[\"' ]", "", header[1])
            seen += current == name
            if seen == number and current == name:
                found = at
                if key is None:
                    return at
            continue
        assignment = re.match(r"\s*([\w\-\"']+?)\s*=", line)
        if assignment and current == name and seen == number and assignment[1].strip("\"'") == key:
            return at
    section, _, field = name.rpartition(".")
    return found or line_of(text, section, field)


def line_of(text: str, section: str, key: str | None = None) -> int:
    """Find the line (from 1) that sets a key. tomllib does not tell, so this reads headers and keys by itself.

    Good for what people write; inside odd constructs (inline tables) it falls back to the section's line.
    """
    current, fallback = "", 1
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
        if header:
            current = header[1].replace('"', "").replace("'", "")
            if current.partition(".")[0] == section:
                fallback = number
                if key is None:
                    return number
            continue
        assignment = re.match(r"\s*([\w\-.\"' ]+?)\s*=", line)
        if not assignment:
            continue
        name = re.sub(r"[\"' ]", "", assignment[1])
        full = f"{current}.{name}" if current else name
        if key is not None and full == f"{section}.{key}":
            return number
        if not current and (name == section or name.startswith(f"{section}.")):
            if key is None:
                return number
            fallback = number
    return fallback


# -- mistakes -----------------------------------------------------------------------------------------------


def _plain(exc: msgspec.ValidationError) -> str:
    """Strip msgspec's JSON path, which our own message has better."""
    message = re.sub(r" - at `\$[^`]*`$", "", str(exc))
    return message[:1].lower() + message[1:]


def _refuse_value(exc: msgspec.ValidationError, origins: dict[str, str]) -> NoReturn:
    place = re.search(r" - at `\$\.([\w.]+)(?:\[[^`]*)?`$", str(exc))
    key = place[1] if place else ""
    raise ConfigInvalid(f"{origins.get(key, 'configuration')}: {key}: {_plain(exc)}") from None


def _unknown_variables(env: Mapping[str, str]) -> list[str]:
    known = VARIABLES.keys() | OTHER_VARIABLES
    # The settings of `ptybridge mcp` belong to its connection, which checks them.
    ours = ("PTYBRIDGE_", "PTYBRIDGE_MCP_")
    strangers = sorted(name for name in env if name.startswith(ours[0]) and not name.startswith(ours[1]))
    strangers = [name for name in strangers if name not in known]
    return [f"{name} is not a variable of ptybridge{near(name, known)}" for name in strangers]
