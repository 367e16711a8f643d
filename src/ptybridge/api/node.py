"""Operations on the daemon itself, and the description of the interface."""

from typing import Annotated, Any, Final

import msgspec

from ptybridge.api.operation import Done, Effect, NoParams, Params, Result, declare
from ptybridge.errors import InvalidParams, ShuttingDown, Unavailable
from ptybridge.model import Access

# The range of versions of the socket's protocol that this version speaks. Raised when the wire changes.
PROTOCOL: Final = 1
PROTOCOL_MIN: Final = 1


class NodeInfo(Result):
    """Who answers: version, protocol range, process, machine, and what it is doing.

    The fields of the keeper are null without one. `keeper_exact`: not a byte is lost when it is killed, either.
    `idle`: no session runs.
    """

    version: str
    protocol: int
    protocol_min: int
    pid: int
    hostname: str
    user: str
    platform: str
    python: str
    started_at_ms: int
    uptime_ms: int
    sessions: int
    sessions_running: int
    clients: int
    socket: str
    keeper: bool
    keeper_pid: int | None = None
    keeper_version: str | None = None
    keeper_exact: bool | None = None
    idle: bool = True


class Whoami(NoParams):
    """Tell the caller who it is here and what it may do, so that a front end offers nothing that would be refused."""


class Identity(Result):
    """Who the caller is, and the operations it may call.

    Of these a session's access level may refuse some: `refused_by_access` tells which at each level, `as_creator` which
    of them whoever has created the session (`created_by` is the `principal`) may call all the same. What a lease, the
    policy or a limit refuses depends on the moment and is not told here. `session_ids`: the only sessions there are for
    this caller, null for all. `file_roots`: the directories its paths must lie below, null for anywhere.
    """

    principal: str
    profile: str | None
    operations: list[str]
    refused_by_access: dict[Access, list[str]]
    as_creator: list[str]
    session_ids: list[str] | None
    file_roots: list[str] | None


class NodeMetrics(Result):
    """What is counted since the daemon began: `calls` by operation, `failures` by operation and error code."""

    version: str
    uptime_ms: int
    sessions: int
    sessions_running: int
    clients: int
    web_connections: int
    open_files: int
    open_files_limit: int
    loop_lag_ms: float
    calls: dict[str, int]
    failures: dict[str, dict[str, int]]


class NodeHealth(Result):
    """Whether the daemon is well; `problems` says what is not, in words."""

    ok: bool
    problems: list[str]
    sessions_running: int
    open_files: int
    open_files_limit: int
    loop_lag_ms: float


class Limits(Result):
    """The daemon's limits."""

    max_sessions: int
    max_exited_sessions: int
    exited_retention_ms: int
    max_input_bytes: int
    max_output_bytes: int
    max_line_bytes: int
    max_requests_in_flight: int
    max_connections: int


class GetInfo(NoParams):
    """Tell who answers and what it is doing."""


class GetHealth(NoParams):
    """Tell whether the daemon is well."""


class GetMetrics(NoParams):
    """Tell what the daemon has counted, for monitoring."""


class GetLimits(NoParams):
    """Tell the daemon's limits."""


class SetLimits(Params):
    """Change limits until the daemon ends; fields left out stay."""

    max_sessions: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    max_exited_sessions: Annotated[int, msgspec.Meta(ge=0, le=100_000)] | None = None
    exited_retention_ms: Annotated[int, msgspec.Meta(ge=0)] | None = None
    max_input_bytes: Annotated[int, msgspec.Meta(ge=4096, le=1 << 30)] | None = None
    max_output_bytes: Annotated[int, msgspec.Meta(ge=65536, le=1 << 30)] | None = None


class Shutdown(NoParams):
    """Stop the daemon; running sessions are ended by the ladder within 8 s."""


class Restart(NoParams):
    """Replace the daemon by a fresh one of the installed version. Answers when it is about to happen."""


class Restarting(Result):
    """What the restart does to the sessions."""

    sessions_kept: bool
    sessions_ended: int


class Upgrade(Params):
    """Bring the keeper to the daemon's version, in place: its sessions do not notice.

    A keeper that has this version already is left alone unless `force`. `node.restart` is what brings the daemon to
    the installed version; it comes first.
    """

    force: bool = False


class Upgraded(Result):
    """What runs now. Without a keeper its fields are null."""

    daemon_version: str
    keeper_version: str | None
    keeper_version_before: str | None
    keeper_pid: int | None
    keeper_upgraded: bool


class Discover(NoParams):
    """Describe this interface as an OpenRPC document."""


class Cancel(Params):
    """Cancel a request of this connection; the cancelled call answers -32800."""

    id: str | int | float


class Cancelled(Result):
    """Whether there was such a request in flight."""

    cancelled: bool


class OpenRpc(Result):
    """An OpenRPC 1.3 document."""

    openrpc: str
    info: dict[str, Any]
    methods: list[dict[str, Any]]
    components: dict[str, Any]


R, M, D = Effect.READS, Effect.MUTATES, Effect.DESTROYS

INFO: Final = declare("node.info", GetInfo, NodeInfo, scope="node:read", effect=R, since="0.1", http="GET /v1/node")
HEALTH: Final = declare(
    "node.health", GetHealth, NodeHealth, scope="node:read", effect=R, since="0.1", http="GET /v1/node/health"
)
WHOAMI: Final = declare(
    "node.whoami", Whoami, Identity, scope="node:read", effect=R, since="0.1", http="GET /v1/whoami"
)
METRICS: Final = declare(
    "node.metrics", GetMetrics, NodeMetrics, scope="node:read", effect=R, since="0.1", http="GET /v1/node/metrics"
)
LIMITS: Final = declare(
    "node.limits", GetLimits, Limits, scope="node:read", effect=R, since="0.1", http="GET /v1/node/limits"
)
SET_LIMITS: Final = declare(
    "node.set_limits",
    SetLimits,
    Limits,
    scope="node:admin",
    effect=M,
    since="0.1",
    errors=(InvalidParams,),
    http="PATCH /v1/node/limits",
)
SHUTDOWN: Final = declare(
    "node.shutdown",
    Shutdown,
    Done,
    scope="node:admin",
    effect=D,
    since="0.1",
    errors=(ShuttingDown,),
    http="POST /v1/node/shutdown",
)
RESTART: Final = declare(
    "node.restart",
    Restart,
    Restarting,
    scope="node:admin",
    effect=D,
    since="0.1",
    errors=(ShuttingDown,),
    http="POST /v1/node/restart",
)
UPGRADE: Final = declare(
    "node.upgrade",
    Upgrade,
    Upgraded,
    scope="node:admin",
    effect=M,
    since="0.1",
    errors=(Unavailable,),
    http="POST /v1/node/upgrade",
)
DISCOVER: Final = declare(
    "rpc.discover", Discover, OpenRpc, scope="node:read", effect=R, since="0.1", http="GET /v1/openrpc.json"
)
CANCEL: Final = declare("rpc.cancel", Cancel, Cancelled, scope="node:read", effect=M, since="0.1")
