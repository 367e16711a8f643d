"""Where `ptybridge mcp` finds a daemon: the user's, or with --isolated one of its own that ends with it.

How it works: opening the channel is one line to the daemon and one back, done with the standard library alone, since
an agent waits for it. Only when no daemon answers is the rest of ptybridge imported, to start one. An isolated daemon
holds the reading end of a pipe whose writing end only we have: however we end, it sees the pipe close, ends its
sessions and removes its directory.
"""

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ptybridge.errors import ConnectionLost, DaemonUnreachable, PtybridgeError, VersionMismatch
from ptybridge.sdk.peer import dial, wait_answer

if TYPE_CHECKING:
    from ptybridge.config import Config

CONNECT_SECONDS: Final = 5.0
# The daemon may have to import the SDK first.
OPEN_SECONDS: Final = 30.0
READ_BYTES: Final = 64 * 1024
PREFIXES: Final = ("PTY_MCP_", "PTYBRIDGE_MCP_")


def request(tools: str, env: Mapping[str, str]) -> bytes:
    """Return the line that opens the channel, with this process's environment and directory."""
    params: dict[str, object] = {
        # Variables of ptybridge's are about this program and not about the sessions.
        "environ": {name: value for name, value in _texts(env) if not name.startswith(("PTYBRIDGE_", "PTY_MCP_"))},
        "settings": {name: value for name, value in _texts(env) if name.startswith(PREFIXES)},
        "tools": tools,
        # The same whenever the line is sent again: what is ours stays ours when the daemon is restarted.
        "default_owner": "agent-" + os.urandom(4).hex(),
    }
    try:
        params["cwd"] = os.getcwd()
    except OSError:
        pass  # it has been removed; sessions start in the home directory
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "mcp.open", "params": params}).encode() + b"\n"


def _texts(env: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the variables that are UTF-8; others cannot travel in JSON."""
    return [
        (name, value)
        for name, value in env.items()
        if not any("\udc80" <= character <= "\udcff" for character in name + value)
    ]


def open_channel(sock: socket.socket, line: bytes, path: str) -> tuple[socket.socket, bytes, list[str]]:
    """Open the channel on a new connection to `path`. Closes it on failure."""
    try:
        sock.settimeout(OPEN_SECONDS)
        sock.sendall(line)
        answer = b""
        while b"\n" not in answer:
            if not answer:
                wait_answer(sock, path)
            data = sock.recv(READ_BYTES)
            if not data:
                raise ConnectionLost("the daemon has closed the connection")
            answer += data
        sock.settimeout(None)
        head, _, rest = answer.partition(b"\n")
        found = json.loads(head)
        if "error" in found:
            raise _restored(found["error"])
        return sock, rest, list(found["result"]["repeatable"])
    except TimeoutError as exc:
        sock.close()
        raise DaemonUnreachable(f"the daemon did not answer within {OPEN_SECONDS:g} s") from exc
    except OSError as exc:
        sock.close()
        raise ConnectionLost("the daemon has gone away") from exc
    except (ValueError, LookupError, TypeError) as exc:
        sock.close()
        raise VersionMismatch("the daemon answers in a protocol that is not ptybridge's") from exc
    except BaseException:
        sock.close()
        raise


def _restored(error: dict[str, object]) -> PtybridgeError:
    data = error.get("data")
    found = PtybridgeError.restore(str(error.get("message", "")), data if isinstance(data, dict) else {})
    if found.code == "method_not_found":
        return VersionMismatch("the daemon is too old to speak MCP", hint="bring it up to date: `ptybridge upgrade`")
    return found


class UsersDaemon:
    """The daemon at `path`. Without `config` it is only connected to; `config` is read when it is missed."""

    def __init__(self, path: str, line: bytes, config: "Config | None" = None) -> None:
        self._path = path
        self._line = line
        self._config = config

    def open(self, *, start: bool) -> tuple[socket.socket, bytes, list[str]]:
        """See `mcp_pipe.Source`."""
        try:
            sock = dial(self._path, CONNECT_SECONDS)
        except DaemonUnreachable as exc:
            # Where the keeper has sessions and nobody serves them, a daemon is missed.
            if not start and not exc.data.get("kept"):
                raise
            sock = self._started()
        try:
            return open_channel(sock, self._line, self._path)
        except ConnectionLost as exc:
            if not exc.data.get("kept"):
                raise
        return open_channel(self._started(), self._line, self._path)

    def _started(self) -> socket.socket:
        from ptybridge.config import load
        from ptybridge.sdk.autostart import ensure_daemon  # rarely needed, and they take time to import

        if self._config is None:
            self._config = load(os.environ).config
        # Standard error is for failures only: a client may show it to its user.
        ensure_daemon(self._config, announce=lambda line: None).close()
        return dial(self._config.paths.socket, CONNECT_SECONDS)


class PrivateDaemon:
    """A daemon without a keeper in a directory of its own; it ends when we do."""

    def __init__(self, config: "Config", line: bytes, env: Mapping[str, str]) -> None:
        from ptybridge.config import Paths, variable_of

        runtime = os.path.dirname(config.paths.runtime_dir)
        # Sockets have short paths: the user's runtime directory if there is one, else the place for temporary files.
        parent = runtime if runtime.startswith("/run/") and os.access(runtime, os.W_OK) else None
        self._directory = tempfile.mkdtemp(prefix="ptybridge-mcp-", dir=parent)
        self._paths = Paths(
            socket=os.path.join(self._directory, "daemon.sock"),
            state_dir=self._directory,
            runtime_dir=self._directory,
            # What is in tmux outlives us, and is recovered from where the user's other daemons look.
            tmux_dir=config.paths.tmux_dir,
        )
        self._config = config
        self._line = line
        ours = {variable_of(f"paths.{name}") for name in Paths.__struct_fields__}
        self._env = {name: value for name, value in env.items() if name not in ours}
        self._life: int | None = None

    def open(self, *, start: bool) -> tuple[socket.socket, bytes, list[str]]:
        """See `mcp_pipe.Source`. It is ours, so it is started whenever it is missed."""
        try:
            sock = dial(self._paths.socket, CONNECT_SECONDS)
        except DaemonUnreachable:
            self._start()
            sock = dial(self._paths.socket, CONNECT_SECONDS)
        return open_channel(sock, self._line, self._paths.socket)

    def _start(self) -> None:
        import msgspec

        from ptybridge.sdk.autostart import start_daemon

        if self._life is not None:
            os.close(self._life)
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        life, self._life = os.pipe()
        config = msgspec.structs.replace(self._config, paths=self._paths)
        try:
            start_daemon(config, self._env, options=("--no-keeper", "--until-closed", str(life)), fds=(life,))
        finally:
            os.close(life)

    def close(self) -> None:
        """Let the daemon end, and remove what it can no longer remove."""
        if self._life is not None:
            os.close(self._life)
            self._life = None
        elif os.path.isdir(self._directory):
            shutil.rmtree(self._directory, ignore_errors=True)
