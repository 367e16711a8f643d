"""One real daemon for the SDK's tests, and one test for the asynchronous client (asyncio, Trio) and the blocking."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from ptybridge import AsyncClient, Client
from ptybridge.config import load
from ptybridge.sdk.autostart import start_daemon
from ptybridge.sdk.blocking import connect

PATIENCE_SECONDS = 60.0
Body = Callable[[Any], Awaitable[None]]
Run = Callable[[Body], None]


class Node:
    """A daemon in a directory of its own."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ptyb-", dir="/tmp"))
        self.socket = str(self.directory / "run" / "daemon.sock")
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PTYBRIDGE_")},
            "PTYBRIDGE_SOCKET": self.socket,
            "PTYBRIDGE_STATE_DIR": str(self.directory / "state"),
            "PTYBRIDGE_RUNTIME_DIR": str(self.directory / "run"),
            "XDG_CONFIG_HOME": str(self.directory),
            "HOME": str(self.directory),
            "SHELL": "/bin/bash",
        }

    def start(self) -> None:
        """Start it, or another that follows it."""
        start_daemon(load(self.env).config, self.env)

    def pid(self) -> int:
        """The daemon's process."""
        with connect(self.socket) as connection:
            return int(connection.call_raw("node.info", {})["pid"])

    def stop(self) -> None:
        """Stop it with all its sessions."""
        stop = [sys.executable, "-m", "ptybridge", "stop"]
        subprocess.run(stop, env=self.env, check=False, timeout=PATIENCE_SECONDS, capture_output=True)
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    made = Node()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def own_node() -> Iterator[Node]:
    """A daemon that the test may kill."""
    made = Node()
    made.start()
    yield made
    made.stop()


class Awaitably:
    """The blocking client's objects under the asynchronous one's names, so that one test is for both."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        name = "close" if name == "aclose" else name
        value = getattr(self.inner, name)
        if callable(value):
            return lambda *args, **kwargs: _Called(value, args, kwargs)
        return _wrapped(value)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "inner":
            super().__setattr__(name, value)
        else:
            setattr(self.inner, name, value)

    async def __aenter__(self) -> Any:
        return _wrapped(self.inner.__enter__())

    async def __aexit__(self, *error: Any) -> None:
        self.inner.__exit__(*error)

    def __aiter__(self) -> "Awaitably":
        return self

    async def __anext__(self) -> Any:
        try:
            return _wrapped(next(self.inner))
        except StopIteration:
            raise StopAsyncIteration from None


class _Called(Awaitably):
    """A call that is made when it is awaited or its result is used."""

    def __init__(self, function: Any, args: Any, kwargs: Any) -> None:
        object.__setattr__(self, "call", lambda: function(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        if name == "inner":
            object.__setattr__(self, "inner", self.call())
            return self.inner
        return super().__getattr__(name)

    def __await__(self) -> Any:
        yield from ()
        return _wrapped(self.inner)


def _wrapped(value: Any) -> Any:
    return Awaitably(value) if type(value).__module__.startswith("ptybridge.sdk.sync") else value


@pytest.fixture(params=["asyncio", "trio", "blocking"])
def flavour(request: pytest.FixtureRequest) -> str:
    """Which client, and which library beneath it."""
    return str(request.param)


def run_with(flavour: str, body: Body, **options: Any) -> None:
    """Run a test's body with a client that is entered."""

    async def main() -> None:
        client: Any = Awaitably(Client.local(**options)) if flavour == "blocking" else AsyncClient.local(**options)
        with anyio.fail_after(PATIENCE_SECONDS):
            async with client:
                await body(client)

    anyio.run(main, backend="asyncio" if flavour == "asyncio" else "trio")


@pytest.fixture
def run(node: Node, flavour: str) -> Run:
    """`run(body)` runs the body with each client against the shared daemon."""
    return lambda body: run_with(flavour, body, socket=node.socket, start=False)
