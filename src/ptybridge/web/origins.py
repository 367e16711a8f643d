"""Which hosts a request may name, and which page it may come from: compared whole, never by a part or a pattern.

How it works: a browser sends in `Host` what stood in the address, and in `Origin` which page asks. A stranger's name
that was made to lead here (DNS rebinding) is none of ours, so its requests are refused by their host. A page from
elsewhere, be it another port of this machine, has another origin than the host it calls. Addresses written as numbers
cannot be rebound, so the one the connection came in by is ours. (RFC 9110 section 7.2, RFC 6454)
"""

from typing import Final

from ptybridge.config import Web

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ANY: Final = frozenset({"", "0.0.0.0", "::", "*"})


class Sites:
    """The names of one node. What `allowed_hosts` says without a scheme is https where TLS or a proxy stands before."""

    def __init__(self, web: Web) -> None:
        self._names = list(LOOPBACK)
        if web.host not in _ANY:
            self._names.append(_bracketed(web.host.lower()))
        outside = "https" if web.tls_cert or web.trusted_proxies else "http"
        # The host as it is sent: the origin it stands for. Without a port also ours.
        self._fixed: dict[str, str] = {}
        self._outer: list[tuple[str, str]] = []
        for entry in web.allowed_hosts:
            scheme, _, host = entry.lower().rstrip("/").rpartition("://")
            scheme = scheme or outside
            name, port = split_host(host)
            if port is None:
                self._outer.append((scheme, name))
            self._fixed.update((form, origin_of(scheme, name, port)) for form in _forms(scheme, name, port))

    def origin(self, host: str, scheme: str, server: tuple[str, int | None] | None) -> str | None:
        """Return the origin of pages at this host, None when it is not one of ours.

        `server`: the address the connection came in by; None, or without a port, for a Unix socket.
        """
        host = host.lower()
        if host in self._fixed:
            return self._fixed[host]
        port = None if server is None else server[1]
        names = list(self._names)
        if server is not None and port is not None:
            names.append(_bracketed(server[0].lower()))
        for name in names:
            if host in _forms(scheme, name, port):
                return origin_of(scheme, name, port)
        for outer, name in self._outer:
            if port is not None and host == f"{name}:{port}":
                return origin_of(outer, name, port)
        return None


def origin_of(scheme: str, name: str, port: int | None) -> str:
    """Return an origin as browsers write it."""
    return f"{scheme}://{name}" if port is None or port == _DEFAULT_PORTS[scheme] else f"{scheme}://{name}:{port}"


def split_host(host: str) -> tuple[str, int | None]:
    """Split "name:port", also for an IPv6 address in brackets."""
    name, colon, port = host.rpartition(":")
    return (name, int(port)) if colon and port.isdigit() and not host.endswith("]") else (host, None)


def _forms(scheme: str, name: str, port: int | None) -> set[str]:
    if port is None:
        return {name}
    return {name, f"{name}:{port}"} if port == _DEFAULT_PORTS[scheme] else {f"{name}:{port}"}


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name and not name.startswith("[") else name
