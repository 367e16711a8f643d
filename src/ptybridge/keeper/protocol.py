"""What daemon and keeper say to each other: one JSON object per packet, descriptors in the same packet.

A Unix socket of type SEQPACKET keeps packets apart, so descriptors stay with their message. Requests are
`{"op", "id", ...}`, answers `{"id", ...}` or `{"id", "error": {"kind", "text", "errno"}}`, news `{"event", ...}`.
Unknown keys are ignored. A body too large for a packet travels in a memfd, the message's last descriptor.

    op           parameters                               answer [descriptors]
    hello        proto: [min, max], epoch: null | n | 0,  proto, keeper_version, exact, epoch, pid, generation,
                 above                                    activated, lends, sessions: [info]
                                                          [listener, pipe r, pipe w, journal]
    spawn        kind, argv, cwd, env, rows, cols, echo,  info, names [one for each name]
                 capacity, records, overflow
    attach       sid                                      info, names [one for each name]
    adopt        info, names [one for each name], notes   info (notes: {key: data})
    room         sid                                      (`floor` has moved and `stalled` was set)
    pump         sid, on                                  - (hello's `lends`; the daemon moves the output, see below)
    policy       sid, overflow                            info
    kill         sid, signal                              -
    close_input  sid                                      - (pipes; close your own copy of stdin, too)
    forget       sid, force                               - (force: also while the child runs)
    note         sid, key, data                           - (data null removes; sid 0 is the node's)
    notes        -                                        notes: [[sid, key, data]]
    list         -                                        sessions: [info]
    rebind       -                                        - [listener] (bind both paths anew, which were removed)
    upgrade      argv                                     pid, generation, keeper_version (the new image answers)

    event        exit: sid, status, end                   superseded: epoch

*Epoch*: of the daemons that connect one is active, and only it may change anything. `hello` with `epoch: null` makes
the sender active with a new, higher epoch; the one before is sent `superseded` and dropped. A daemon that reconnects
names its own epoch and is refused when there has been a higher one. Epoch 0 only looks.
`above` is the highest number of the sessions a daemon still holds for a dead keeper: new ones get higher numbers.
*pump*: from the answer on the keeper leaves the session's outputs to the daemon, until the daemon says `on: false`,
its connection ends or another one takes over, or the keeper's program is replaced: then the keeper pumps again, and
the daemon asks again. The daemon steps under the journal's rules, see `pump`. An error of kind busy passes.
*info* is `SessionInfo`. `names` say what each descriptor is: "pty", or "stdin", "stdout", "stderr"; "ring"; for pipes
"segments"; "wake", an eventfd that counts up as the ring grows or ends, made anew for each `attach` and given up by
the former reader; "process", a pidfd. `status` is the exit code, or minus the signal's number, or null: unknown.
"""

import array
import errno
import json
import os
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

PROTOCOL: Final = (1, 1)
KINDS: Final = ("pty", "pipes")
OVERFLOWS: Final = ("drain", "pause")

# The kernel takes packets of more than 200 KB; this is what a receiver keeps ready.
PACKET_BYTES = 64 << 10
LARGE_BYTES = 64 << 20
MAX_FDS = 16
# Set by the receiver in a message that came without all of its descriptors, because it had none left.
CUT_OFF: Final = "cut_off"


class KeeperError(Exception):
    """A request failed. `kind`: os, invalid, not_found, conflict, inactive, stale, busy, protocol, upgrade."""

    def __init__(self, kind: str, text: str, code: int | None = None) -> None:
        self.kind, self.text, self.errno = kind, text, code
        super().__init__(text)

    def describe(self) -> dict[str, object]:
        """Return it as the `error` of an answer."""
        return {"kind": self.kind, "text": self.text, "errno": self.errno}


class CutOffError(OSError):
    """A message came without all of its descriptors, because this process has none left. `body` is the message's."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(errno.EMFILE, os.strerror(errno.EMFILE))
        self.body = body


class SessionInfo(NamedTuple):
    """A session as the keeper tells it. `sid` is the keeper's number for it, never used again while it runs."""

    sid: int
    kind: str
    pid: int
    overflow: str = "drain"
    exited: bool = False
    status: int | None = None
    start: int = 0
    end: int = 0
    eof: bool = False

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "SessionInfo":
        """Read it from a message, skipping what a newer keeper says besides. Raises KeeperError."""
        try:
            return cls(**{name: body[name] for name in cls._fields if name in body})
        except TypeError as error:
            raise KeeperError("protocol", f"no session: {error}") from error


class Message(NamedTuple):
    """A received message. Whoever receives it owns the descriptors."""

    body: dict[str, Any]
    fds: list[int]

    def close(self) -> None:
        """Close the descriptors that came along."""
        close_all(self.fds)


class Channel:
    """One end of a connection. Blocking or not is up to the socket; BlockingIOError passes through. Owns the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self.socket.fileno()

    def send(self, body: Mapping[str, object], fds: Sequence[int] = ()) -> None:
        """Send a message and copies of `fds`, whole or not at all. Raises OSError."""
        text, large = encode(body)
        try:
            self.send_packet(text, [*fds, *large])
        finally:
            close_all(large)

    def send_packet(self, text: bytes, fds: Sequence[int]) -> None:
        """Send one packet as it is."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([text], rights, socket.MSG_NOSIGNAL)

    def receive(self) -> Message | None:
        """Return the next message, None at the end of the connection. Descriptors are close-on-exec.

        Raises KeeperError for what is not a message, OSError.
        """
        # Not socket.recv_fds: Python 3.11 drops its flags, and the descriptors would leak into children.
        text, rights, flags, _ = self.socket.recvmsg(PACKET_BYTES, socket.CMSG_SPACE(4 * MAX_FDS), _RECEIVE_FLAGS)
        fds = array.array("i")
        for level, kind, data in rights:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        message = Message({}, list(fds))
        if not text:
            message.close()
            return None
        try:
            if flags & socket.MSG_TRUNC:
                raise KeeperError("protocol", "a packet was cut off")
            body = _decode(text, message.fds)
        except BaseException:
            message.close()
            raise
        if flags & socket.MSG_CTRUNC:
            message.close()
            if body.get("large"):
                raise KeeperError("protocol", "no descriptor is left for a large message")
            message.fds.clear()
            body[CUT_OFF] = True
        message.body.update(body)
        return message

    def peer_uid(self) -> int:
        """Return the user the other end ran as when it connected (or listened)."""
        credentials = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        uid: int = struct.unpack("3i", credentials)[1]
        return uid

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


_RECEIVE_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def connect(path: str) -> Channel:
    """Connect to the keeper that listens at `path` and check that it is ours. Raises OSError, KeeperError."""
    channel = Channel(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    try:
        channel.socket.connect(path)
        if channel.peer_uid() != os.getuid():
            raise KeeperError("protocol", f"the keeper at {path} belongs to another user")
    except BaseException:
        channel.close()
        raise
    return channel


def encode(body: Mapping[str, object]) -> tuple[bytes, list[int]]:
    """Return a message's packet and, if it is large, the descriptor to send as the last one and then to close."""
    text = json.dumps(body).encode()
    if len(text) <= PACKET_BYTES:
        return text, []
    large = os.memfd_create("ptybridge-message", os.MFD_CLOEXEC)
    write_all(large, text)
    return b'{"large": true}', [large]


def raise_error(body: Mapping[str, Any]) -> None:
    """Raise the KeeperError (or, of kind "os", the OSError) that an answer carries, if it does."""
    error = body.get("error")
    if error is None and body.get(CUT_OFF):
        raise CutOffError(dict(body))
    if error is None:
        return
    kind, text, code = str(error.get("kind")), str(error.get("text")), error.get("errno")
    if kind == "os" and isinstance(code, int):
        raise OSError(code, text)
    raise KeeperError(kind, text, code)


def describe_error(error: Exception) -> dict[str, object]:
    """Return the `error` of an answer for what a request raised."""
    if isinstance(error, KeeperError):
        return error.describe()
    if isinstance(error, OSError):
        return {"kind": "os", "text": error.strerror or str(error), "errno": error.errno or errno.EIO}
    return {"kind": "invalid", "text": f"{type(error).__name__}: {error}", "errno": None}


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data` to a file."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def close_all(fds: Iterable[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        os.close(fd)


def _decode(text: bytes, fds: list[int]) -> dict[str, Any]:
    """Return the object a packet holds or points to; in the latter case take its descriptor off the end of `fds`."""
    try:
        body = json.loads(text)
        if isinstance(body, dict) and body.get("large") is True and fds:
            large = fds.pop()
            try:
                size = os.fstat(large).st_size
                if size > LARGE_BYTES:
                    raise KeeperError("protocol", f"a message of {size} bytes")
                body = json.loads(os.pread(large, size, 0))
            finally:
                os.close(large)
    except (ValueError, RecursionError) as error:
        raise KeeperError("protocol", f"not JSON: {error}") from error
    if not isinstance(body, dict):
        raise KeeperError("protocol", "not an object")
    return body
