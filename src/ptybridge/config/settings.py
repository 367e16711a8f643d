"""Every setting with its default and its limits, in sections."""

import hashlib
import os
from typing import Annotated, Final, Literal

import msgspec

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
    def tmux_socket(self) -> str:
        """Where this daemon's own tmux server is; daemons share the directory."""
        return os.path.join(self.tmux_dir, f"{hashlib.sha256(self.socket.encode()).hexdigest()[:8]}.tmux")

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
    # `file.fetch`, for everybody: a daemon that gets what it is told to reach opens its network to its callers.
    fetch: bool = False
    # Parts of uploads that nobody has resumed for so long are deleted.
    keep_partial_ms: Annotated[int, msgspec.Meta(ge=60_000, le=10 * 365 * 86_400_000)] = 7 * 86_400_000


class Secret(Section, frozen=True):
    """Secrets: a program (with its arguments) that prints the value asked for; without one people are asked."""

    command: list[Annotated[str, msgspec.Meta(min_length=1)]] = []


class Web(Section, frozen=True):
    """The web front, off unless asked for: where it listens, who stands before it, and its certificate.

    `host` is a name or an address, empty for none; `unix_socket` a Unix socket besides. Beyond loopback only with a
    certificate. `trusted_proxies` are the addresses or networks whose `X-Forwarded-*` is believed;
    `proxy_auth_header` names the header in which such a proxy says who has logged in. `allowed_hosts` adds names by
    which browsers may call this node.
    """

    enabled: bool = False
    host: Annotated[str, msgspec.Meta(max_length=255)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 7373
    unix_socket: AbsolutePath | None = None
    base_path: Annotated[str, msgspec.Meta(pattern=r"^(/|(/[A-Za-z0-9._~-]+)+)$", max_length=255)] = "/"
    allowed_hosts: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=255)], ...] = ()
    trusted_proxies: tuple[Annotated[str, msgspec.Meta(min_length=2, max_length=64)], ...] = ()
    proxy_auth_header: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]+$", max_length=64)] | None = None
    tls_cert: AbsolutePath | None = None
    tls_key: AbsolutePath | None = None
    access_log: bool = True
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1024
    # Of each principal and each address: programs started, and other changes; so many at once may be saved up.
    creates_per_second: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 5.0
    creates_at_once: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 60
    writes_per_second: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] = 200.0
    writes_at_once: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    # Of each address: wrong codes, keys and tickets.
    failures_per_second: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 0.2
    failures_at_once: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 10
    # A peer that takes nothing for so long is given up.
    send_timeout_ms: Annotated[int, msgspec.Meta(ge=100, le=3_600_000)] = 30_000
    # So long requests may take to end once the daemon stops.
    grace_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 2000

    @property
    def prefix(self) -> str:
        """What every path begins with: the base path without its last slash, "" for none."""
        return self.base_path.rstrip("/")


class Serve(Section, frozen=True):
    """One program for everybody who comes over the web; what `ptybridge serve -c CMD` says, see docs/serving.md.

    `command` runs, in `cwd`, as every session that is made over the web without a command; with `public` it is one
    session for all. That ends `grace_ms` after the last visitor has gone; `once`: and the daemon with it.
    """

    command: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    cwd: AbsolutePath | None = None
    backend: Literal["pty", "pipes"] = "pty"
    public: bool = False
    read_only: bool = False
    once: bool = False
    max_clients: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    grace_ms: Annotated[int, msgspec.Meta(ge=0, le=30 * 24 * 3_600_000)] = 60_000
    # How long the link is good that is printed at the start.
    link_ttl_ms: Annotated[int, msgspec.Meta(ge=1000, le=366 * 24 * 3_600_000)] = 24 * 3_600_000


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole tree."""

    paths: Paths = Paths()
    daemon: Daemon = Daemon()
    session: Session = Session()
    attach: Attach = Attach()
    secret: Secret = Secret()
    policy: Policy = Policy()
    files: Files = Files()
    web: Web = Web()
    serve: Serve = Serve()


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
    "secret": Secret, "web": Web, "serve": Serve,
}  # fmt: skip
# What separates their members in a variable: a colon, as in $PATH; addresses have colons of their own.
LISTS: Final = {
    "files.roots": ":", "files.deny": ":", "secret.command": ":", "web.allowed_hosts": ",", "web.trusted_proxies": ",",
}  # fmt: skip
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
