"""One Hypercorn for all sockets of the web front, inside the daemon's nursery."""

import logging
import socket
from functools import partial

import trio
from hypercorn.config import Sockets
from hypercorn.trio.run import worker_serve
from hypercorn.utils import wrap_app

from ptybridge import config
from ptybridge.web.context import Asgi
from ptybridge.web.takeover import Sends, ServerConfig, install

log = logging.getLogger(__name__)


class WebServer:
    """One server. `stop` ends it gracefully, and within the grace time in any case."""

    def __init__(self, app: Asgi, settings: config.Web, sockets: list[socket.socket]) -> None:
        """`sockets` listen already, and are the server's from here on."""
        self._app = app
        self._grace = settings.grace_ms / 1000
        self._sockets = sockets
        self._stopping = trio.Event()
        self._sends = Sends(settings.send_timeout_ms / 1000)
        self._config = ServerConfig()
        self._config.sends = self._sends
        self._config.max_connections = settings.max_connections
        self._config.graceful_timeout = self._grace
        self._config.include_server_header = False
        # The access log is ours, without query strings; what Hypercorn has to say goes where everything goes.
        self._config.accesslog = None
        self._config.errorlog = logging.getLogger("hypercorn.error")

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._config.connections

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop` or cancellation."""
        install()
        logging.getLogger("hypercorn.error").setLevel(logging.WARNING)
        for sock in self._sockets:
            sock.setblocking(False)
        sockets = Sockets(secure_sockets=[], insecure_sockets=self._sockets, quic_sockets=[])
        serve = partial(
            worker_serve,
            wrap_app(self._app, self._config.wsgi_max_body_size, "asgi"),  # type: ignore[arg-type]
            self._config,
            sockets=sockets,
            shutdown_trigger=self._stopping.wait,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            task_status.started()

    def stop(self) -> None:
        """End: no new connections, and what is under way has the grace time."""
        self._sends.hurry(self._grace)
        self._stopping.set()
