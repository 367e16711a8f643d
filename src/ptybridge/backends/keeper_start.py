"""Finding this user's keeper, starting one where there is none, and becoming its daemon."""

import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import trio

from ptybridge import __version__
from ptybridge.backends import nofile
from ptybridge.errors import Unavailable
from ptybridge.keeper.protocol import PROTOCOL, Channel, KeeperError, Message, connect, raise_error

log = logging.getLogger(__name__)

CONTROL_NAME = "keeper.sock"
KEEPER_COMMAND = [sys.executable, "-P", "-m", "ptybridge.keeper"]
START_SECONDS = 10.0
POLL_SECONDS = 0.01


class KeeperGoneError(KeeperError):
    """The keeper ended the connection instead of answering."""


class KeeperStarter:
    """Finds the keeper of one directory; without `may_start` it is waited for, and who holds its socket starts it."""

    def __init__(self, directory: Path, listen: Path, log_file: Path, *, may_start: bool) -> None:
        self._directory = directory
        self._listen = listen
        self._log_file = log_file
        self._may_start = may_start

    async def find(self) -> Channel:
        """Connect to the keeper, starting one if there is none. Raises `Unavailable`."""
        path = str(self._directory / CONTROL_NAME)
        started: subprocess.Popen[bytes] | None = None
        with trio.move_on_after(START_SECONDS):
            while True:
                try:
                    return connect(path)
                except (FileNotFoundError, ConnectionRefusedError):
                    if self._may_start and (started is None or started.poll() is not None):
                        started = self._start(path)
                await trio.sleep(POLL_SECONDS)
        if not self._may_start:
            raise Unavailable("no keeper is running", hint="start the service `ptybridge-keeper`")
        raise Unavailable(f"the keeper did not start within {START_SECONDS:.0f} s; see {self._log_file}")

    def _start(self, control: str) -> subprocess.Popen[bytes]:
        command = [*KEEPER_COMMAND, "--control", control, "--listen", str(self._listen)]
        command += ["--children-nofile", str(nofile.inherited()[0])]
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        errors = os.open(self._log_file, flags, 0o600)
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
                # What it starts gets an environment of its own; it needs none, and must not keep secrets alive.
                env=_keeper_environment(os.environ),
            )
        finally:
            os.close(errors)


def claim(channel: Channel, above: int) -> Message:
    """Become the active daemon; return the answer to `hello`.

    A keeper that knows no protocol of ours becomes one of our version first, if no daemon works with it.
    """
    hello = {"op": "hello", "id": 0, "proto": list(PROTOCOL), "epoch": None, "above": above}
    try:
        return ask(channel, hello)
    except KeeperError as exc:
        if exc.kind != "protocol":
            raise
        log.warning("%s; it is asked to become version %s", exc, __version__)
    ask(channel, {"op": "upgrade", "id": 0, "argv": KEEPER_COMMAND}).close()
    return ask(channel, hello)


def ask(channel: Channel, body: Mapping[str, object]) -> Message:
    """Ask on a blocking channel and return the answer. Raises OSError, `KeeperError`."""
    channel.send(body)
    while (message := channel.receive()) is not None:
        if message.body.get("id") == body["id"]:
            raise_error(message.body)
            return message
        message.close()
    raise KeeperGoneError("gone", "it ended the connection")


def _keeper_environment(env: Mapping[str, str]) -> dict[str, str]:
    kept = {"PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT"}
    return {name: value for name, value in env.items() if name in kept}
