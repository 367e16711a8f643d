"""The sockets of the web front: where it may listen, whose port that is already, and which is free instead."""

import errno
import ipaddress
import logging
import os
import socket
import stat
from collections.abc import Iterator
from typing import Final

from ptybridge import config
from ptybridge.errors import ConfigInvalid, Unavailable, UnsafePath
from ptybridge.web.portholder import holder_of

log = logging.getLogger(__name__)

BACKLOG: Final = 512
# How many ports after the one that is wanted are tried.
PORTS_TRIED: Final = 100
# What was sent and is not acknowledged for so long ends a connection: tcp(7). A peer that is gone is noticed by it.
USER_TIMEOUT_MS: Final = 60_000


def open_tcp(web: config.Web, port: int) -> list[socket.socket]:
    """Return sockets that listen on every address of the host, all on one port: `port`, or a free one after it.

    Raises `ConfigInvalid` for a host that is unknown or that only a certificate would make safe, `Unavailable` when no
    port is free. Blocking: it looks the host up.
    """
    addresses = check(web)
    if not addresses:
        return []
    for candidate in _candidates(port):
        found = _bind_all(addresses, candidate)
        if isinstance(found, list):
            if candidate != port and port:
                log.warning("port %d is taken by %s; the web front listens on %d", port, holder_of(port), candidate)
            return found
    raise Unavailable(f"port {port} is taken by {holder_of(port)}, and so are the {PORTS_TRIED} after it")


def check(web: config.Web) -> list[tuple[int, str]]:
    """Return the addresses (family and text) of the host. Raises `ConfigInvalid` when it must not listen there."""
    if not web.host:
        return []
    addresses = _addresses(web.host)
    if not _secured(web) and not all(_is_loopback(address) for _, address in addresses):
        raise ConfigInvalid(
            f"web.host is {web.host}, which others can reach, and there is no certificate (web.tls_cert)",
            hint="`ptybridge cert` makes one; or listen on 127.0.0.1 and let a proxy or ssh lead there",
        )
    return addresses


def check_given(sock: socket.socket, web: config.Web) -> None:
    """Look at a socket that the service manager has. Raises `ConfigInvalid` when the front must not listen on it."""
    if sock.family != socket.AF_UNIX and not _secured(web) and not _is_loopback(sock.getsockname()[0]):
        raise ConfigInvalid(
            f"the service manager listens on {address_of(sock)}, which others can reach, and there is no certificate",
            hint="`ptybridge cert` makes one (web.tls_cert); or have it listen on 127.0.0.1",
        )
    set_user_timeout(sock)


def _secured(web: config.Web) -> bool:
    return bool(web.tls_cert)


def _addresses(host: str) -> list[tuple[int, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as exc:
        raise ConfigInvalid(f"web.host {host!r} is no address of this machine: {exc}") from exc
    families = (socket.AF_INET, socket.AF_INET6)
    return list(dict.fromkeys((family, str(at[0])) for family, _, _, _, at in found if family in families))


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _candidates(port: int) -> Iterator[int]:
    # Port 0 lets the system choose; trying again helps when what it chose is taken on another address of the host.
    yield from ([0] * 10 if port == 0 else range(port, min(port + PORTS_TRIED, 65535) + 1))


def _bind_all(addresses: list[tuple[int, str]], port: int) -> list[socket.socket] | None:
    """Bind one port on all addresses, or return None when it is taken on one of them."""
    made: list[socket.socket] = []
    for family, address in addresses:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        made.append(sock)
        try:
            # A daemon that was killed leaves connections in TIME_WAIT, which must not keep its port from the next.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
            sock.listen(BACKLOG)
        except OSError as exc:
            if exc.errno == errno.EADDRNOTAVAIL and family == socket.AF_INET6 and len(addresses) > 1:
                made.remove(sock)
                sock.close()  # `localhost` has an IPv6 address by name where the system has no IPv6
                continue
            for other in made:
                other.close()
            if exc.errno == errno.EADDRINUSE:
                return None
            raise Unavailable(f"cannot listen on {address} port {port}: {exc.strerror}") from exc
        port = sock.getsockname()[1]
        set_user_timeout(sock)
    return made


def set_user_timeout(sock: socket.socket) -> None:
    """Let what nobody acknowledges end connections; those that are accepted inherit it."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


def open_unix(path: str) -> socket.socket:
    """Return a socket that listens on `path`, which only this user may use. Raises `UnsafePath`, `Unavailable`."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
            raise UnsafePath(f"{path} exists and is no socket of this user; it was left as it is")
        if _answers(path):
            raise Unavailable(f"something else listens on {path}", hint="choose another web.unix_socket")
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    # The mode of a socket is what the umask leaves, so it is right from birth.
    before = os.umask(0o177)
    try:
        sock.bind(path)
    except OSError as exc:
        sock.close()
        raise Unavailable(f"cannot listen on {path}: {exc.strerror or exc}") from exc
    finally:
        os.umask(before)
    sock.listen(BACKLOG)
    return sock


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            return True  # its queue is full
        except OSError:
            return False
        return True


def address_of(sock: socket.socket) -> str:
    """Return where a socket listens, as it stands in a URL: "127.0.0.1:7373", "[::1]:7373", "unix:/path"."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"
