"""TLS of the web front: HTTP/2 by ALPN, and certificates that are renewed while it serves."""

import logging
import os
import ssl
from typing import Final

import trio

from ptybridge import config
from ptybridge.errors import ConfigInvalid

log = logging.getLogger(__name__)

# How often it is looked whether the files have changed.
LOOK_SECONDS: Final = 2.0


class Tls:
    """The certificate in use. `context` serves new connections with the files as they were last read well."""

    def __init__(self, settings: config.Web) -> None:
        """Read the files. Raises `ConfigInvalid`."""
        if not settings.tls_cert or not settings.tls_key:
            raise ConfigInvalid(
                "web.tls_cert and web.tls_key go together", hint="`ptybridge cert` makes them and tells their paths"
            )
        self._stopped = trio.Event()
        self._cert, self._key = settings.tls_cert, settings.tls_key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        self.context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        self._stamp = self._look()
        try:
            self._read(self.context)
        except (OSError, ssl.SSLError) as exc:
            raise ConfigInvalid(f"{self._cert} and {self._key} are no certificate and its key: {exc}") from exc

    async def watch(self) -> None:
        """Take up renewed files until `stop`; connections that are open go on with what they began with."""
        while not self._stopped.is_set():
            with trio.move_on_after(LOOK_SECONDS):
                await self._stopped.wait()
            stamp = self._look()
            if stamp == self._stamp:
                continue
            try:
                # In a context of its own first: a pair that does not fit must not get half into ours.
                self._read(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
                self._read(self.context)
            except (OSError, ssl.SSLError) as exc:
                log.warning("the new certificate cannot be used, so the old one stays: %s", exc)
                continue
            self._stamp = stamp
            log.info("took up the renewed certificate %s", self._cert)

    def stop(self) -> None:
        """End `watch`."""
        self._stopped.set()

    def _read(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._cert, self._key)

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for path in (self._cert, self._key):
            try:
                facts = os.stat(path)
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((facts.st_mtime_ns, facts.st_ino, facts.st_size))
        return tuple(found)
