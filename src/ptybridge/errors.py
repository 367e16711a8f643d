"""The error tree: one class per failure, with its code, JSON-RPC number, HTTP status and whether a retry helps.

Everything raised on purpose derives from `PtybridgeError`. A class fixes what every front end shows of it;
front ends translate, they never invent. The numbers -32700 … -32600 are JSON-RPC 2.0's, -32800 is the
"request cancelled" of the Language Server Protocol, the rest lie in JSON-RPC's range for servers (-32000 …).
"""

import re
from typing import ClassVar, Final, Self


def snake_case(name: str) -> str:
    """Turn a class's name into the name it has on the wire: `SessionNotFound` → `session_not_found`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class PtybridgeError(Exception):
    """Base of all errors raised on purpose.

    `message` says what happened, `hint` what to do about it, `data` holds typed details (e.g. `retry_after_ms`).
    """

    rpc_code: ClassVar[int] = -32000
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str | None] = None
    code: ClassVar[str] = "ptybridge_error"

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.code = snake_case(cls.__name__)
        BY_CODE[cls.code] = cls

    def __init__(self, message: str = "", *, hint: str | None = None, **data: object) -> None:
        self.message = message or (self.__doc__ or self.code).strip().splitlines()[0].rstrip(".")
        self.hint = hint or self.default_hint
        self.data = data
        super().__init__(self.message)

    def describe(self) -> dict[str, object]:
        """Return `error.data` as it goes over the wire: code, retryable, hint, and the details."""
        return {"code": self.code, "retryable": self.retryable, "hint": self.hint, **self.data}

    @classmethod
    def restore(cls, message: str, data: dict[str, object]) -> Self:
        """Rebuild an error from the wire; codes of a newer peer become a plain `PtybridgeError`."""
        details = {key: value for key, value in data.items() if key not in {"code", "retryable", "hint"}}
        kind = BY_CODE.get(str(data.get("code")), PtybridgeError)
        hint = data.get("hint")
        error = kind(message, hint=hint if isinstance(hint, str) else None, **details)
        return error  # type: ignore[return-value]  # the code decides the class; callers catch PtybridgeError


BY_CODE: Final[dict[str, type[PtybridgeError]]] = {}


# -- the caller's fault -------------------------------------------------------------------------------------


class ParseError(PtybridgeError):
    """The request is not valid JSON."""

    rpc_code, http_status = -32700, 400


class InvalidRequest(PtybridgeError):
    """The request is not a valid JSON-RPC 2.0 request."""

    rpc_code, http_status = -32600, 400


class MethodNotFound(PtybridgeError):
    """There is no operation of this name."""

    rpc_code, http_status = -32601, 404
    default_hint = "`ptybridge ops` lists the operations"


class InvalidParams(PtybridgeError):
    """The parameters do not fit the operation."""

    rpc_code, http_status = -32602, 400


class RequestTooLarge(PtybridgeError):
    """The request is larger than a connection may send."""

    rpc_code, http_status = -32014, 413


class TooManyRequests(PtybridgeError):
    """Too many requests are in flight on this connection."""

    rpc_code, http_status, retryable = -32015, 429, True


class RequestCancelled(PtybridgeError):
    """The request was cancelled by its sender."""

    rpc_code, http_status = -32800, 499


# -- policy -------------------------------------------------------------------------------------------------


class Denied(PtybridgeError):
    """This is not allowed to you."""

    rpc_code, http_status = -32001, 403


class Unauthenticated(PtybridgeError):
    """Nobody has said who this is."""

    rpc_code, http_status = -32040, 401
    default_hint = "`ptybridge open` logs a browser in; scripts send a key"


class Misdirected(PtybridgeError):
    """The request is for another host."""

    rpc_code, http_status = -32041, 421
    default_hint = "use one of this node's own names; `web.allowed_hosts` adds some"


class PermissionDenied(Denied):
    """The system's permissions do not allow this."""


class OutsideRoots(Denied):
    """The path leads out of what this caller may touch, or to something that is kept from it."""

    default_hint = "`[files] roots` in the configuration says which directories are open to such callers"


class ConfirmationRequired(Denied):
    """This is dangerous and must be confirmed first; nothing was done.

    `matches` are the reasons, each with a `rule` and a `reason`; `command` is what the confirmation must be for.
    """

    rpc_code = -32025
    default_hint = (
        "ask `policy.confirm` (the tool confirm_dangerous_command) for a token for exactly this `command`, with a "
        "justification, then repeat the call with it as `confirm_token`"
    )


class ConfirmationRejected(Denied):
    """The confirm token does not fit; `reason` says what: unknown, expired, principal, command, owner or access."""

    rpc_code = -32026
    default_hint = "a token is good once, for one command, owner and access level, for a short time; ask for a new one"


class RateLimited(PtybridgeError):
    """The rate limit is used up for the moment; `retry_after_ms` says for how long."""

    rpc_code, http_status, retryable = -32011, 429, True


# -- state --------------------------------------------------------------------------------------------------


class NotFound(PtybridgeError):
    """There is no such thing."""

    rpc_code, http_status = -32002, 404


class SessionNotFound(NotFound):
    """There is no such session."""

    rpc_code = -32003
    default_hint = "`ptybridge ls` shows the sessions"


class AttachmentNotFound(NotFound):
    """There is no such attachment on this session."""

    default_hint = "`ptybridge clients` shows the attachments"


class CommandNotFound(NotFound):
    """The session has no command of this number, or does not keep it any more."""

    default_hint = "`ptybridge history` shows the commands"


class Conflict(PtybridgeError):
    """The current state does not allow this."""

    rpc_code, http_status = -32004, 409


class NameTaken(Conflict):
    """Another running session of this owner has the name."""


class SessionExited(Conflict):
    """The session's child has exited."""

    rpc_code = -32005


class InputClosed(Conflict):
    """The child's input is closed."""


class LineTooLong(Conflict):
    """The terminal is in line mode and would silently cut a line of this length."""

    default_hint = "send shorter lines, or wait until the program has set raw mode"


class Busy(Conflict):
    """The session's shell is not at its prompt; the message says what runs."""

    rpc_code = -32024
    default_hint = "wait for `command_done`, give `wait`, or use another session"


class FileNotFound(NotFound):
    """There is no such file or directory."""


class FileExists(Conflict):
    """Something of this name is there already."""

    default_hint = "give `overwrite`, or choose another name"


class NotADirectory(Conflict):
    """A directory is needed, and this is none."""


class IsADirectory(Conflict):
    """A file is needed, and this is a directory."""


class DirectoryNotEmpty(Conflict):
    """The directory is not empty."""


class NotAFile(Conflict):
    """This is a device, a FIFO or a socket; only files and directories are dealt with."""


class EtagMismatch(Conflict):
    """The file is not the one the caller has seen: its etag is another, or it is gone."""

    http_status = 412
    default_hint = "read it again, and decide anew"


class SecretNotFound(NotFound):
    """Nobody waits for this secret any more, or ever did."""

    default_hint = "`ptybridge secrets` shows the requests"


class EchoOn(Conflict):
    """The session would show a secret that is typed now; nothing was written."""

    default_hint = "wait until the program asks for it, or allow the echo"


class TransferRunning(Conflict):
    """Another connection is sending this very file."""

    retryable = True


class LeaseHeld(Conflict):
    """Another client holds the session's lease."""

    rpc_code, http_status = -32006, 423


class InputFull(PtybridgeError):
    """The session's input queue is full because its child does not read."""

    rpc_code, http_status, retryable = -32012, 429, True


class KeyNotFound(NotFound):
    """There is no such key or login."""

    default_hint = "`ptybridge key ls` shows them"


class ClientClosed(Conflict):
    """This client, or what was opened with it, is closed already."""

    default_hint = "use it inside its `with`, or make another"


class ExpectFailed(Conflict):
    """What was expected has not been printed; `before` is the end of what was."""


class ExpectTimeout(ExpectFailed):
    """What was expected was not printed in time."""

    default_hint = "`before` shows what was printed instead; the position has not moved, so it can be expected again"


class ExpectExited(ExpectFailed):
    """The program ended, or its output did, without printing what was expected."""


class ApprovalNotFound(NotFound):
    """There is no such approval, or it was decided too long ago."""

    default_hint = "`ptybridge approvals` shows those that wait for an answer"


# -- environment --------------------------------------------------------------------------------------------


class Unavailable(PtybridgeError):
    """Something ptybridge needs is not to be had at the moment."""

    rpc_code, http_status, retryable = -32010, 503, True


class DaemonUnreachable(Unavailable):
    """No daemon answers on the socket."""

    default_hint = "start one with `ptybridge serve`"


class RequestTimeout(DaemonUnreachable):
    """The daemon has not answered within the time the client gives it."""

    http_status = 504


class ConnectionLost(Unavailable):
    """The connection to the daemon ended."""


class ShuttingDown(Unavailable):
    """The daemon is shutting down."""


class LimitReached(Unavailable):
    """A limit of this daemon is reached."""


class SpawnFailed(PtybridgeError):
    """The program could not be started; `errno` and the message give the system's reason."""

    rpc_code, http_status = -32013, 422


class OutOfTerminals(SpawnFailed):
    """The system has no terminal (pty) left."""

    http_status, retryable = 503, True
    default_hint = "close sessions, or raise kernel.pty.max"


class OutOfDescriptors(SpawnFailed):
    """The daemon has no file descriptor left."""

    http_status, retryable = 503, True
    default_hint = "close sessions, or raise the limit on open files (ulimit -n)"


class FileFailed(PtybridgeError):
    """The system could not do this to a file; `errno` and the message give its reason."""

    rpc_code, http_status = -32030, 422


class NoSpace(FileFailed):
    """The file system is full, or the quota is used up; nothing was changed."""

    http_status = 507
    default_hint = "make room, then try again"


class FileTooLarge(FileFailed):
    """This is larger than the operation takes."""

    http_status = 413


class BadArchive(FileFailed):
    """This is no archive of a known kind, or it is damaged; nothing was extracted."""


class UnsafeArchive(FileFailed):
    """The archive holds what would lead out of the directory or is no file; nothing was extracted."""


class FetchFailed(FileFailed):
    """The other side did not give the file; nothing was changed."""

    http_status = 502


class ChecksumMismatch(FileFailed):
    """What arrived is not what was sent; it was thrown away."""

    retryable = True


class UnsafePath(PtybridgeError):
    """A file or directory is not safely owned; nothing was touched."""

    rpc_code, http_status = -32016, 403


class AlreadyRunning(Conflict):
    """Another daemon serves this socket."""


class ConfigInvalid(PtybridgeError):
    """The configuration has a mistake; the message names its place."""

    rpc_code, http_status = -32017, 400


class VersionMismatch(PtybridgeError):
    """The two sides have no protocol version in common."""

    rpc_code, http_status = -32018, 426


class NotInstalled(PtybridgeError):
    """An optional part of ptybridge is not installed."""

    rpc_code, http_status = -32019, 501


class InternalError(PtybridgeError):
    """A defect in ptybridge; the log has the traceback."""

    rpc_code, http_status = -32603, 500
