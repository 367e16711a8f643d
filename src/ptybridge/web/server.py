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
from ptybridge.web.takeover import RULES, Sends, ServerConfig, install
from ptybridge.web.tls import Tls

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0


class WebServer:
    """One server. `stop` ends it gracefully, and within the grace time in any case."""

    def __init__(self, app: Asgi, settings: config.Web, sockets: list[socket.socket]) -> None:
        """`sockets` listen already, and are the server's from here on. Raises `ConfigInvalid` for a bad certificate."""
        self._tls = Tls(settings) if settings.tls_cert or settings.tls_key else None
        self._app = app
        self._grace = settings.grace_ms / 1000
        self._sockets = sockets
        self._stopping = trio.Event()
        self._sends = Sends(settings.send_timeout_ms / 1000)
        self._config = ServerConfig()
        self._config.sends = self._sends
        self._config.max_connections = settings.max_connections
        self._config.graceful_timeout = self._grace
        self._config.tls = None if self._tls is None else self._tls.context
        self._config.ssl_handshake_timeout = HANDSHAKE_SECONDS
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
        errors = logging.getLogger("hypercorn.error")
        errors.setLevel(logging.WARNING)
        errors.addFilter(_is_news)
        for sock in self._sockets:
            sock.setblocking(False)
        # Who can open the Unix socket is on this machine and is this user.
        secure = [sock for sock in self._sockets if self._tls is not None and sock.family != socket.AF_UNIX]
        plain = [sock for sock in self._sockets if sock not in secure]
        sockets = Sockets(secure_sockets=secure, insecure_sockets=plain, quic_sockets=[])
        serve = partial(
            worker_serve,
            wrap_app(self._app, self._config.wsgi_max_body_size, "asgi"),  # type: ignore[arg-type]
            self._config,
            sockets=sockets,
            shutdown_trigger=self._stopping.wait,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            if self._tls is not None:
                nursery.start_soon(self._tls.watch)
            task_status.started()
            await self._stopping.wait()
            nursery.cancel_scope.deadline = trio.current_time() + self._grace + 1
            if self._tls is not None:
                self._tls.stop()

    def stop(self) -> None:
        """End: no new connections, and what is under way has the grace time."""
        self._sends.hurry(self._grace)
        self._stopping.set()


def _is_news(record: logging.LogRecord) -> bool:
    """Keep out tracebacks that any stranger could fill the log with: the connection says in a line why it ended."""
    return not (record.exc_info and isinstance(record.exc_info[1], RULES))
