"""Starts the daemon when a command needs one and none listens, as tmux does.

How it works: the daemon becomes the leader of a session of its own with no terminal, `/` as its directory, nothing
on its standard input, and the log file as output; then it forks once more (`serve --daemonize`) so that it is
nobody's child. A pipe tells when requests are answered, or why there will be none. Two commands that race start two
daemons; the lock beside the socket lets one live, and the command whose daemon lost connects to the other.
"""

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from ptybridge.config import Config
from ptybridge.errors import AlreadyRunning, DaemonUnreachable, PtybridgeError, UnsafePath
from ptybridge.sdk.blocking import Connection, connect

# A cold start reads some megabytes of Python from disk; a busy machine takes its time for that.
START_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.02


class Failure(msgspec.Struct):
    """What `serve --daemonize` writes into the pipe when it cannot start."""

    message: str
    data: dict[str, object]


def ensure_daemon(config: Config, *, announce: Callable[[str], None]) -> Connection:
    """Connect to the daemon, after starting it if none listens and the configuration allows that.

    `announce` gets one line for the user when a daemon was started.
    """
    path = config.paths.socket
    try:
        return connect(path)
    except DaemonUnreachable as exc:
        if not config.daemon.autostart:
            exc.hint = "start one with `ptybridge serve`, or leave out --no-autostart"
            raise
    from ptybridge.sdk import service  # only on the way to a daemon that has to be started

    if service.start(path, START_SECONDS):
        return _connect_to_winner(path)
    try:
        pid = start_daemon(config, os.environ)
    except AlreadyRunning:
        return _connect_to_winner(path)
    announce(f"started the daemon (pid {pid})")
    return connect(path)


def start_daemon(
    config: Config, env: Mapping[str, str], *, options: Sequence[str] = (), fds: Sequence[int] = ()
) -> int:
    """Start a detached daemon and wait until it answers requests; return its pid.

    `options` go to `serve`, which inherits the descriptors `fds`.
    Raises `AlreadyRunning` when another one was faster, and whatever else keeps it from starting.
    """
    import subprocess  # takes longer than a whole `ls`, and is needed once a day

    log = _open_log(config)
    ready, report = os.pipe()
    command = [sys.executable, "-m", "ptybridge", "serve", "--daemonize", "--ready-fd", str(report), *options]
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(os.close, ready)
        try:
            launcher = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_daemon_environment(config, env),
                pass_fds=(report, *fds),
                start_new_session=True,
            )
        finally:
            os.close(log)
            os.close(report)
        answer = _read_report(ready)
        launcher.wait()
    if answer.endswith(b"\n"):
        return int(answer)
    raise _failure(answer, config)


def _read_report(ready: int) -> bytes:
    """Read until a line is complete or the writers are gone."""
    import select

    answer = b""
    deadline = time.monotonic() + START_SECONDS
    while not answer.endswith(b"\n"):
        if not select.select([ready], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise DaemonUnreachable(f"the daemon has not become ready within {START_SECONDS:g} s")
        chunk = os.read(ready, 65536)
        if not chunk:
            break
        answer += chunk
    return answer


def _failure(answer: bytes, config: Config) -> PtybridgeError:
    try:
        # The pid comes first, then the reason.
        failure = msgspec.json.decode(answer.lstrip(b"0123456789"), type=Failure)
    except msgspec.DecodeError:
        return DaemonUnreachable("the daemon could not be started", hint=f"see {config.paths.log_file}")
    return PtybridgeError.restore(failure.message, failure.data)


def _connect_to_winner(path: str) -> Connection:
    """Connect to the daemon that holds the lock, which may still be starting."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return connect(path)
        except DaemonUnreachable:
            if time.monotonic() >= deadline:
                raise
            time.sleep(POLL_SECONDS)


def _daemon_environment(config: Config, env: Mapping[str, str]) -> dict[str, str]:
    """Return the user's environment with this configuration's paths made absolute, and without a session's mark."""
    ours = {name: value for name, value in env.items() if name != "PTYBRIDGE_SESSION_ID"}
    ours["PTYBRIDGE_SOCKET"] = config.paths.socket
    ours["PTYBRIDGE_STATE_DIR"] = config.paths.state_dir
    ours["PTYBRIDGE_RUNTIME_DIR"] = config.paths.runtime_dir
    ours["PTYBRIDGE_TMUX_DIR"] = config.paths.tmux_dir
    if ours.get("PTYBRIDGE_CONFIG"):
        ours["PTYBRIDGE_CONFIG"] = os.path.abspath(os.path.expanduser(ours["PTYBRIDGE_CONFIG"]))
    if ours.get("PYTHONPATH"):
        entries = ours["PYTHONPATH"].split(os.pathsep)
        ours["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in entries if entry)
    return ours


def _open_log(config: Config) -> int:
    """Open the log for the daemon's own output; 0600, in a directory of 0700, through no link (S15)."""
    directory = config.paths.state_dir
    try:
        os.makedirs(os.path.dirname(directory), mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        found = os.lstat(directory)
    except OSError as exc:
        raise UnsafePath(
            f"cannot make the directory {directory}: {exc.strerror}",
            hint="set HOME, XDG_STATE_HOME or PTYBRIDGE_STATE_DIR to where you may write",
        ) from exc
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise UnsafePath(f"{directory} is not a directory of yours", hint="set PTYBRIDGE_STATE_DIR")
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(config.paths.log_file, flags, 0o600)
    except OSError as exc:
        raise UnsafePath(f"cannot write the log {config.paths.log_file}: {exc.strerror}") from exc
