"""Sending files up and down for the commands, whose connections come from a place of their own."""

from collections.abc import Callable

from ptybridge.api.transfer import Download, Downloading, Upload
from ptybridge.errors import ConnectionLost
from ptybridge.sdk import blocking
from ptybridge.sdk.settings import Settings
from ptybridge.sdk.sync import transfers
from ptybridge.sdk.sync.connection import Connection
from ptybridge.sdk.sync.link import Link
from ptybridge.sdk.sync.transfers import Progress
from ptybridge.wire import attach as frames

Connect = Callable[[], blocking.Connection]


def upload(
    connect: Connect, source: int, params: Upload, progress: Progress | None = None, reconnect: Connect | None = None
) -> frames.Stored:
    """Send what the descriptor `source` (a regular file) holds; return what is stored.

    `progress` gets (bytes done, bytes in all). A lost connection is made anew by `reconnect` and goes on where it was.
    Raises `PtybridgeError`.
    """
    return transfers.upload(_link(connect, reconnect), source, params, progress)


def download(
    connect: Connect, target: int, params: Download, progress: Progress | None = None, reconnect: Connect | None = None
) -> Downloading:
    """Write a file into the descriptor `target`, whose first `params.offset` bytes are there; return what it was.

    Raises `ChecksumMismatch` when what came is not what the daemon has read.
    """
    return transfers.download(_link(connect, reconnect), target, params, progress)


def _link(connect: Connect, reconnect: Connect | None) -> Link:
    def dial(again: bool) -> Connection:
        if not again:
            return Connection.adopt(connect())
        if reconnect is None:
            raise ConnectionLost("the connection was lost in the middle of a file")
        return Connection.adopt(reconnect())

    # The commands wait for an answer as long as it takes.
    return Link(dial, Settings(request_timeout=None, keepalive_interval=0), {})
