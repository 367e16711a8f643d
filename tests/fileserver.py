"""A small web server of tests, with the ways servers misbehave."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATA = bytes(range(256)) * 4000


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        match path:
            case "/file":
                self._begin(200, len(DATA))
                self.wfile.write(DATA)
            case "/endless":
                self._begin(200, None)
                try:
                    while True:
                        self.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                except OSError:
                    self.close_connection = True
            case "/short":
                self._begin(200, len(DATA))
                self.wfile.write(DATA[:1000])
                self.close_connection = True
            case "/silent":
                self._begin(200, len(DATA))
                self.wfile.flush()
                self.server.stopped.wait()  # type: ignore[attr-defined]
                self.close_connection = True
            case "/to":
                self.send_response(302)
                self.send_header("Location", query)
                self.send_header("Content-Length", "0")
                self.end_headers()
            case _:
                self._begin(404, 0)

    def _begin(self, status: int, size: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-test")
        if size is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[int]:
    """Serve on every loopback address; gives the port."""
    server = ThreadingHTTPServer(("", 0), _Handler)
    server.stopped = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.stopped.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()
        server.server_close()
