"""The settings of one MCP connection, read from its client's environment.

They are pty-mcp's, under its names (`PTY_MCP_MAX_SESSIONS`) or ours (`PTYBRIDGE_MCP_MAX_SESSIONS`, which wins), and
hold for that connection only. What cannot be right is refused with the name of the setting, never replaced.
"""

import math
import mmap
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from ptybridge.config import pattern_problem
from ptybridge.errors import ConfigInvalid
from ptybridge.mistakes import plain
from ptybridge.model import Caution

PREFIXES: Final = ("PTYBRIDGE_MCP_", "PTY_MCP_")
# How long an exited session is kept when nothing else is asked for.
DEFAULT_KEEP_SECONDS: Final = 24 * 3600.0
# The contract's bounds of a transcript, see `api.session.OutputBytes`.
MIN_RING_BYTES, MAX_RING_BYTES = 64 * 1024, 1 << 30

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
RingBytes = Annotated[int, msgspec.Meta(ge=1, le=MAX_RING_BYTES)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
# Pieces between semicolons, in which a backslash takes the next character with it.
_SEPARATED: Final = re.compile(r"(?:[^;\\]|\\.|\\\Z)+", re.S)
_SEMICOLON: Final = re.compile(r"(\\[^;])|\\(?=;)", re.S)
YES: Final = frozenset({"1", "true", "yes"})
NO: Final = frozenset({"0", "false", "no", ""})


class Settings(msgspec.Struct, kw_only=True):
    """The settings; `set_limits` changes some of them while the connection lives. 0 switches a limit off."""

    max_sessions: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 20
    idle_timeout_sec: Seconds = 900.0
    idle_grace_sec: Seconds | None = None
    gc_interval_sec: Seconds = 5.0  # no effect: limits are looked at all the time
    ring_max_bytes: RingBytes = 1 << 20
    read_timeout_ms: Count = 300
    max_chars: Annotated[int, msgspec.Meta(ge=1, le=16 << 20)] = 8000
    read_chunk_bytes: Count = 4096  # no effect: output is moved in whatever pieces it comes
    read_until_max_ms: Count = 60_000
    spawn_timeout_sec: Seconds = 0.0
    output_rate_bps: Count = 0
    input_rate_bps: Count = 0
    quiescence_ms: Count = 300
    session_log_dir: str | None = None
    backend: Literal["subprocess", "tmux"] = "subprocess"
    dangerous_confirm_ttl_sec: Seconds = 300.0
    require_owner: bool = True
    enable_admin_tools: bool = False
    enable_control_tools: bool = False
    dangerous_legacy_mode: bool = False
    dangerous_patterns: str | None = None
    tmux_capture_dir: str | None = None  # no effect: nothing is captured to files
    state_dir: str | None = None  # no effect: the daemon keeps its own state
    log: Literal["debug", "info", "warn", "error"] = "info"
    log_format: Literal["plain", "json"] = "plain"
    spawn_meta: bool = False

    @property
    def idle_timeout_ms(self) -> int | None:
        """After how long without use a program is ended; the grace counts on top, None never."""
        if not self.idle_timeout_sec:
            return None
        return int((self.idle_timeout_sec + (self.idle_grace_sec or 0)) * 1000)

    @property
    def patterns(self) -> tuple[str, ...] | None:
        r"""What finds a dangerous command in place of the usual judgement; `;` parts them, `\;` is one of a pattern."""
        if self.dangerous_patterns is None:
            return None
        parts = _SEPARATED.findall(self.dangerous_patterns)
        return tuple(pattern for part in parts if (pattern := _SEMICOLON.sub(r"\1", part).strip()))

    @property
    def caution(self) -> Caution:
        """What the daemon's policy heeds of them."""
        return Caution(confirm_ttl_ms=int(self.dangerous_confirm_ttl_sec * 1000), patterns=self.patterns)

    @property
    def keep_ms(self) -> int:
        """How long an exited session is kept after its last use."""
        return int((DEFAULT_KEEP_SECONDS if self.idle_grace_sec is None else self.idle_grace_sec) * 1000)


def ring_bytes(asked: int) -> int:
    """Return the size of the transcript that keeps at least `asked` bytes; it lies in whole pages of memory."""
    return -(-max(MIN_RING_BYTES, asked) // mmap.PAGESIZE) * mmap.PAGESIZE


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings. Raises `ConfigInvalid` that names every mistaken one."""
    settings = Settings()
    mistakes: list[str] = []
    for one in msgspec.structs.fields(Settings):
        variable = next((name for prefix in PREFIXES if (name := prefix + one.name.upper()) in environ), None)
        if variable is None:
            continue
        try:
            value = msgspec.convert(_reader(one.type)(environ[variable].strip()), one.type)
        except ValueError as exc:  # msgspec's, too
            said = plain(exc) if isinstance(exc, msgspec.ValidationError) else str(exc)
            mistakes.append(f"{variable}={environ[variable][:80]!r}: {said}")
        else:
            setattr(settings, one.name, value)
            mistakes += [f"{variable}: {said}" for said in _check(one.name, settings)]
    if mistakes:
        raise ConfigInvalid(
            "; ".join(mistakes), hint="correct the environment in the client's configuration of this server"
        )
    return settings


def _check(name: str, settings: Settings) -> Iterator[str]:
    """Yield what is wrong with a setting's value, beyond its type."""
    if name != "dangerous_patterns" or settings.patterns is None:
        return
    if not settings.patterns:
        yield "it has no pattern; leave it out, or empty, for the usual judgement"
    for pattern in settings.patterns:
        if problem := pattern_problem(pattern):
            yield f"{pattern[:80]!r} is not a regular expression (RE2): {problem}"


def _reader(declared: Any) -> Callable[[str], object]:
    info = msgspec.inspect.type_info(declared)
    kinds = {type(one) for one in (info.types if isinstance(info, msgspec.inspect.UnionType) else (info,))}
    if msgspec.inspect.BoolType in kinds:
        return _boolean
    if msgspec.inspect.IntType in kinds:
        return _integer
    if msgspec.inspect.FloatType in kinds or msgspec.inspect.Metadata in kinds:
        return _seconds
    # Paths and expressions may be left empty; words are known in lower case.
    return (lambda text: text or None) if msgspec.inspect.NoneType in kinds else str.lower


def _boolean(text: str) -> bool:
    if text.lower() in YES:
        return True
    if text.lower() in NO:
        return False
    raise ValueError("must be 1, true or yes, or 0, false or no")


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("must be a whole number") from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("must be a number of seconds")
    return value
