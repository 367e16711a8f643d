"""Getting a URL into a file: HTTP and HTTPS alone, bounded in size and time, whole or not at all.

How it works: a name is resolved once, every address it has is judged, and the connection goes to one of exactly these
addresses; so a name that means something else a moment later leads nowhere. Each redirect is judged like the first
URL. Proxies of the environment are not used: they would connect where nobody judges.
"""

import hashlib
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from ptybridge.core.files.facts import Checked
from ptybridge.core.files.unpacking import Work
from ptybridge.core.files.writing import write_all
from ptybridge.errors import ChecksumMismatch, Denied, FetchFailed, FileTooLarge, InvalidParams

PIECE_BYTES: Final = 256 << 10
# So long the other side may be silent.
SILENT_SECONDS: Final = 30.0
MOST_REDIRECTS: Final = 5
_REDIRECTS: Final = {301, 302, 303, 307, 308}
# NAT64, RFC 6052: the last 4 bytes are an IPv4 address.
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Tell whether an address lies in the public internet: not here, not in this network, not a cloud's metadata."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(ip.packed[-4:])
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


class Fetched(Work):
    """What was got. `total` is None while the other side has not told the size."""

    total: int | None = None
    url: str = ""
    content_type: str | None = None
    sha256: str = ""


class Fetch:
    """One download. `allowed` judges addresses; `abort`, from any thread, wakes it when it is not wanted any more."""

    def __init__(
        self, url: str, *, allowed: Callable[[str], bool], most: int, within: float, sha256: str | None, check: Checked
    ) -> None:
        """Raises `InvalidParams` for what is no URL to be got."""
        self.work = Fetched(name=_shown(_split(url)))
        self._url = url
        self._allowed = allowed
        self._most = most
        self._deadline = time.monotonic() + within
        self._wanted = sha256
        self._check = check
        self._socket: socket.socket | None = None

    def abort(self) -> None:
        """Let what waits for the other side wait no longer."""
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is closed already

    def fill(self, fd: int) -> None:
        """Write what comes into a descriptor. Raises `FetchFailed`, `FileTooLarge`, `ChecksumMismatch`, `Denied`."""
        url = self._url
        try:
            for _ in range(MOST_REDIRECTS + 1):
                parts = _split(url)
                with self._connect(parts) as connection:
                    response = self._ask(connection, parts)
                    if response.status not in _REDIRECTS:
                        self._take(response, parts, fd)
                        return
                    to = urljoin(url, response.headers.get("Location", ""))
                    if parts.scheme == "https" and _split(to).scheme == "http":
                        raise FetchFailed(f"{_shown(parts)} leads from https to http, where anybody can change it")
                    url = to
        except (http.client.HTTPException, OSError, ValueError) as exc:
            self._check()
            if isinstance(exc, TimeoutError):
                raise FetchFailed(f"{self.work.name} did not answer in time") from exc
            said = str(exc) or type(exc).__name__
            raise FetchFailed(f"{self.work.name} could not be got: {said[:200]}") from exc
        raise FetchFailed(f"{self.work.name} redirects more than {MOST_REDIRECTS} times")

    def _connect(self, parts: SplitResult) -> "_Connection":
        self._check()
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(one[4][0]) for one in found]
        for one in addresses:
            # One that is not allowed refuses the name: which of them answers is not ours to choose.
            if not self._allowed(one):
                raise Denied(
                    f"{host} is {one}, which is not in the public internet",
                    hint="agents and remote callers may fetch from public addresses only",
                )
        sock = socket.create_connection((addresses[0], port), timeout=self._patience())
        self._socket = sock
        try:
            if parts.scheme == "https":
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
                self._socket = sock
        except BaseException:
            sock.close()
            raise
        return _Connection(host, port, sock)

    def _ask(self, connection: "_Connection", parts: SplitResult) -> http.client.HTTPResponse:
        self._check()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # Compressed it would be neither the size nor the file that was asked for.
        headers = {"Host": parts.netloc, "User-Agent": "ptybridge", "Accept": "*/*", "Accept-Encoding": "identity"}
        connection.request("GET", target, headers=headers)
        return connection.getresponse()

    def _take(self, response: http.client.HTTPResponse, parts: SplitResult, fd: int) -> None:
        if response.status != 200:
            raise FetchFailed(
                f"{_shown(parts)} answers {response.status} {response.reason[:100]}",
                status=response.status,
            )
        work = self.work
        work.url, work.content_type, work.total = _shown(parts), response.headers.get("Content-Type"), response.length
        if (work.total or 0) > self._most:
            raise self._too_large()
        digest = hashlib.sha256()
        while data := response.read1(PIECE_BYTES):
            work.done_bytes += len(data)
            if work.done_bytes > self._most:
                raise self._too_large()
            digest.update(data)
            write_all(fd, data, self._check)
            assert self._socket is not None
            self._socket.settimeout(self._patience())
        self._check()
        if work.total is not None and work.done_bytes != work.total:
            raise FetchFailed(f"{_shown(parts)} broke off at {work.done_bytes} of {work.total} bytes")
        work.sha256 = digest.hexdigest()
        if self._wanted is not None and work.sha256 != self._wanted:
            raise ChecksumMismatch(f"{_shown(parts)} has the checksum {work.sha256}, and {self._wanted} is wanted")

    def _patience(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, SILENT_SECONDS)

    def _too_large(self) -> FileTooLarge:
        return FileTooLarge(f"{self.work.name} is larger than {self._most} bytes", hint="give `max_bytes`")


class _Connection(http.client.HTTPConnection):
    """A connection over a socket that is open, and that leads where it was allowed to."""

    def __init__(self, host: str, port: int, sock: socket.socket) -> None:
        super().__init__(host, port)
        self.sock = sock
        # `http.client` would open another one, to wherever the name leads by then.
        self.auto_open = 0

    def __enter__(self) -> "_Connection":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError as exc:
        raise InvalidParams(f"this is no URL: {exc}") from exc
    if not known or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidParams("only http and https URLs can be fetched, in plain ASCII")
    if parts.username is not None or parts.password is not None:
        raise InvalidParams("a URL with a name or a password in it is not taken", hint="it would be shown and logged")
    return parts


def _shown(parts: SplitResult) -> str:
    """Return a URL as it may be shown: queries often carry keys."""
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
