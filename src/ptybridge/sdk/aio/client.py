"""The client: finds a daemon, and gives what can be done with it in namespaces and handles."""

import builtins
from collections.abc import Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

from ptybridge.api import attach, session
from ptybridge.api.node import INFO, GetInfo, NodeInfo
from ptybridge.api.operation import Operation
from ptybridge.errors import NotInstalled
from ptybridge.model import Backend, Mode, Overflow
from ptybridge.sdk.aio.compat import AsyncTerminalService
from ptybridge.sdk.aio.connection import AsyncConnection, AsyncTransport, from_socket, in_thread
from ptybridge.sdk.aio.files import AsyncFiles
from ptybridge.sdk.aio.link import AsyncLink
from ptybridge.sdk.aio.methods import AsyncNamespaces, AsyncSessionMethods
from ptybridge.sdk.aio.session import AsyncSession
from ptybridge.sdk.aio.terminal import UNKNOWN, AsyncTerminal
from ptybridge.sdk.durations import milliseconds
from ptybridge.sdk.local import Local, Surroundings, own_client_id
from ptybridge.sdk.settings import Settings

RELAY_LATER = "other machines are reached through a relay, which this version does not have"


class AsyncSessions(AsyncSessionMethods):
    """Sessions: `create` gives a handle, the other methods take ids."""

    async def create(
        self,
        command: str | builtins.list[str] | None = None,
        *,
        backend: Backend = "pty",
        cwd: str | PathLike[str] | None = None,
        env: Mapping[str, str | None] | None = None,
        caller_env: Mapping[str, str] | None = None,
        cols: int = 120,
        rows: int = 30,
        name: str | None = None,
        owner: str | None = None,
        tags: Sequence[str] = (),
        access: Literal["read-only", "read-write", "control", "admin"] = "admin",
        max_output_bytes: int = 1 << 20,
        overflow: Overflow = "drain",
        echo: bool = True,
        shell_integration: Literal["auto", "off"] = "auto",
        window_size_policy: Literal["latest", "smallest", "largest", "manual"] = "latest",
        idle_timeout: float | None = None,
        max_runtime: float | None = None,
        linger: float = 0.5,
        input_bytes_per_second: int | None = None,
        output_bytes_per_second: int | None = None,
        client_id: str | None = None,
        keep: float | None = None,
        workspace: str | None = None,
        log_dir: str | None = None,
        confirm_token: str | None = None,
        unattended_timeout: float | None = None,
        max_clients: int | None = None,
    ) -> AsyncSession:
        """Start a program: a string runs in `$SHELL -c`, a list as it is, without one the user's shell starts.

        On this machine it has the caller's directory and environment unless `cwd` and `caller_env` are given; `env`
        sets variables on top, None unsets one.
        """
        params = session.Create(
            command=command,
            backend=backend,
            cwd=None if cwd is None else str(cwd),
            env=None if env is None else dict(env),
            caller_env=None if caller_env is None else dict(caller_env),
            cols=cols,
            rows=rows,
            name=name,
            owner=owner,
            tags=[*tags],
            access=access,
            max_output_bytes=max_output_bytes,
            overflow=overflow,
            echo=echo,
            shell_integration=shell_integration,
            window_size_policy=window_size_policy,
            idle_timeout_ms=milliseconds(idle_timeout),
            max_runtime_ms=milliseconds(max_runtime),
            linger_ms=milliseconds(linger),
            input_bytes_per_second=input_bytes_per_second,
            output_bytes_per_second=output_bytes_per_second,
            client_id=client_id,
            keep_ms=milliseconds(keep),
            workspace=workspace,
            log_dir=log_dir,
            confirm_token=confirm_token,
            unattended_timeout_ms=milliseconds(unattended_timeout),
            max_clients=max_clients,
        )
        info = await self._link.call(session.CREATE, params)
        return AsyncSession(self._link, info.session_id, info)


class _Dialer:
    """Makes connections: to the daemon of this machine, or over the caller's transport."""

    def __init__(self, local: Local | None, transport: AsyncTransport | None, settings: Settings) -> None:
        self._local = local
        self._transport = transport
        self._settings = settings

    async def dial(self, again: bool) -> AsyncConnection:
        if self._transport is not None:
            return AsyncConnection(await self._transport(), keepalive=self._settings.keepalive)
        assert self._local is not None
        sock = await in_thread(self._local.dial_again if again else self._local.dial)
        connection = AsyncConnection(await from_socket(sock), self._local.name, self._settings.keepalive)
        connection.revive = self._local.revive
        return connection


class AsyncClient(AsyncNamespaces):
    """A client of a daemon. Make one with `local()`, or with a transport of your own, and use it inside `async with`.

    It connects when it is entered or first used. It can be used by many tasks at once: each call in flight has a
    connection of its own. Handles, streams and terminals belong to one task at a time.
    """

    def __init__(
        self,
        transport: AsyncTransport | None = None,
        *,
        local: Local | None = None,
        config: Settings | None = None,
        client_id: str | None = None,
        **settings: Any,
    ) -> None:
        self.settings = config or Settings.load(**settings)
        self.transport = transport
        self.client_id = client_id or own_client_id()
        self.mode: Literal["local", "custom"] = "local" if transport is None else "custom"
        if transport is None:
            local = local or Local(timeout=self.settings.connect_timeout)
        # Nothing in it refers to this object, so that a client that is dropped is collected at once.
        self._link = AsyncLink(
            _Dialer(local, transport, self.settings).dial,
            self.settings,
            Surroundings(self.client_id, here=transport is None),
        )
        super().__init__(self._link)
        self.sessions = AsyncSessions(self._link)
        self.files = AsyncFiles(self._link)
        self.terminal = AsyncTerminalService(self._link)

    @classmethod
    def local(
        cls,
        config: Settings | None = None,
        discovery_paths: Sequence[str | PathLike[str]] | None = None,
        use_defaults: bool = True,
        *,
        socket: str | PathLike[str] | None = None,
        start: bool = True,
        client_id: str | None = None,
        **settings: Any,
    ) -> Self:
        """Return a client of this machine's daemon, which is started if none runs, unless `start` is false.

        `socket` names its socket; otherwise `discovery_paths` (sockets, or their directories) are tried in order, then,
        with `use_defaults`, the socket the configuration and the environment name. Settings: see `Settings`.
        """
        chosen = config or Settings.load(**settings)
        paths = [socket] if socket is not None else [*(discovery_paths or ())]
        where = Local(paths, use_defaults=use_defaults and socket is None, start=start, timeout=chosen.connect_timeout)
        return cls(local=where, config=chosen, client_id=client_id)

    @classmethod
    def from_transport(cls, transport: AsyncTransport, *, client_id: str | None = None, **settings: Any) -> Self:
        """Return a client over connections that `transport` makes, for instance through ssh."""
        return cls(transport, client_id=client_id, **settings)

    @classmethod
    def remote(
        cls,
        api_key: str,
        server: str | None = None,
        agent_id: str | None = None,
        config: Settings | None = None,
        insecure: bool = False,
        *,
        relay: str | None = None,
    ) -> NoReturn:
        """Raise `NotInstalled`: clients of other machines come with the relay."""
        raise NotInstalled(RELAY_LATER, hint="use a transport through ssh: docs/sdk.md shows how")

    @staticmethod
    async def list_agents(api_key: str) -> NoReturn:
        """Raise `NotInstalled`: the list of machines comes with the relay."""
        raise NotInstalled(RELAY_LATER)

    @staticmethod
    async def get_online_agents(api_key: str) -> NoReturn:
        """Raise `NotInstalled`: the list of machines comes with the relay."""
        raise NotInstalled(RELAY_LATER)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()  # noqa: ASYNC102 - closing does not wait

    def __repr__(self) -> str:
        state = "closed" if self._link.closed else "connected" if self._link.connected else "not connected"
        return f"<{type(self).__name__} {self.mode} {state}>"

    @property
    def is_connected(self) -> bool:
        """Whether it has spoken with a daemon and is not closed."""
        return self._link.connected and not self._link.closed

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._link.closed

    async def connect(self) -> NodeInfo:
        """Make sure that there is a daemon; return what it says of itself."""
        return await self._link.call(INFO, GetInfo())

    async def close(self) -> None:
        """Close all connections; what they wait for ends with `ConnectionLost`. Sessions live on."""
        await self._link.aclose()

    def session(self, session_id: str) -> AsyncSession:
        """Return a handle on a session that is there; nothing is asked yet. It reads from the start of what is kept."""
        return AsyncSession(self._link, session_id)

    def attach(
        self,
        session_id: str,
        *,
        cols: int | None = None,
        rows: int | None = None,
        mode: Mode = "writer",
        offset: int | None = None,
        scrollback_lines: int | None = None,
        ack_window_bytes: int | None = None,
        marks: bool = False,
    ) -> AsyncTerminal:
        """Be on a session, inside `async with`: its screen, then everything live; input goes the other way.

        `cols` and `rows` are the window on this side; without them it is as large as the session, and changes nothing.
        With `marks` its `marks` say in which lines of a picture commands begin.
        """
        params = attach.Attach(
            session_id=session_id,
            rows=rows or UNKNOWN,
            cols=cols or UNKNOWN,
            mode=mode,
            offset=offset,
            scrollback_lines=scrollback_lines,
            ack_window_bytes=ack_window_bytes,
            marks=marks,
        )
        return AsyncTerminal(self._link, params)

    async def call(self, operation: Operation[Any, Any], /, **params: Any) -> Any:
        """Call any operation of the contract with its parameters as they go over the wire (durations in `_ms`)."""
        return await self._link.call(operation, operation.params(**params))
