"""What `doctor` looks at. Each check is a function that yields findings; none changes or starts anything."""

import os
import re
import resource
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from ptybridge import __version__
from ptybridge.api.node import HEALTH, INFO, GetHealth, GetInfo, NodeHealth, NodeInfo
from ptybridge.cli import output
from ptybridge.config import Loaded
from ptybridge.errors import DaemonUnreachable, PtybridgeError
from ptybridge.sdk import service
from ptybridge.sdk.blocking import connect
from ptybridge.sdk.peer import KEEPER_SOCKET

ANSWER_SECONDS: Final = 5.0
# A session takes five descriptors of the keeper.
FEW_DESCRIPTORS: Final = 1024
NEARLY: Final = 0.9
RECENT_SECONDS: Final = 24 * 60 * 60
LOG_BYTES: Final = 256 * 1024
LARGE_LOG_BYTES: Final = 64 << 20


class Finding(msgspec.Struct, frozen=True):
    """What a check found. `advice` says what to do, empty when nothing is."""

    check: str
    level: Literal["ok", "warn", "fail"]
    message: str
    advice: str = ""


class Examined(msgspec.Struct):
    """What the checks share."""

    loaded: Loaded
    info: NodeInfo | None = None
    health: NodeHealth | None = None
    error: PtybridgeError | None = None
    keeper_pid: int | None = None


def examine(loaded: Loaded) -> list[Finding]:
    """Do all checks."""
    seen = Examined(loaded)
    path = loaded.config.paths.socket
    try:
        with connect(path) as connection:
            seen.info = connection.call(INFO, GetInfo(), ANSWER_SECONDS)
            seen.health = connection.call(HEALTH, GetHealth(), ANSWER_SECONDS)
    except PtybridgeError as exc:
        seen.error = exc
    holder = lock_holder(_keeper_lock(loaded))
    seen.keeper_pid = seen.info.keeper_pid if seen.info is not None else holder
    return [finding for check in CHECKS for finding in check(seen)]


# -- what runs ----------------------------------------------------------------------------------------------


def check_daemon(seen: Examined) -> Iterator[Finding]:
    """The daemon: there, of this version, and well."""
    info, path = seen.info, seen.loaded.config.paths.socket
    if info is None:
        yield _no_daemon(seen, path)
        return
    since = output.clock(info.started_at_ms)
    message = f"pid {info.pid}, version {info.version}, since {since}, {info.sessions_running} running sessions"
    if info.version != __version__:
        yield Finding("daemon", "warn", f"{message}; installed is {__version__}", "`ptybridge upgrade`")
    else:
        yield Finding("daemon", "ok", message)
    for problem in seen.health.problems if seen.health else []:
        yield Finding("daemon", "warn", problem, f"see {seen.loaded.config.paths.log_file}")


def _no_daemon(seen: Examined, path: str) -> Finding:
    error = seen.error
    pid = lock_holder(path + ".lock")
    if pid is not None and isinstance(error, DaemonUnreachable):
        return Finding(
            "daemon",
            "fail",
            f"pid {pid} has the socket but does not answer: {error.message}",
            f"`kill -9 {pid}`; with a keeper its sessions go on with the next daemon",
        )
    if isinstance(error, DaemonUnreachable):
        if seen.keeper_pid is not None:
            return Finding("daemon", "warn", "not running, but its keeper is", "any command starts it: `ptybridge ls`")
        return Finding("daemon", "ok", "not running; the next command starts it")
    message = error.message if error else "does not answer"
    return Finding("daemon", "fail", message, (error.hint if error else None) or "`ptybridge restart`")


def check_keeper(seen: Examined) -> Iterator[Finding]:
    """The keeper: there, of the daemon's version, and exact."""
    info = seen.info
    if info is not None and not info.keeper:
        yield Finding(
            "keeper",
            "warn",
            "none: sessions end with the daemon",
            "leave out --no-keeper, or set daemon.keeper = true, and `ptybridge restart`",
        )
    elif seen.keeper_pid is None:
        yield Finding("keeper", "ok", "not running")
    elif info is None or info.keeper_version is None:
        yield Finding("keeper", "ok", f"pid {seen.keeper_pid}{_since(seen.keeper_pid)}")
    else:
        message = f"pid {seen.keeper_pid}, version {info.keeper_version}{_since(seen.keeper_pid)}"
        if info.keeper_version != __version__:
            yield Finding("keeper", "warn", f"{message}; installed is {__version__}", "`ptybridge upgrade`")
        else:
            yield Finding("keeper", "ok", message)
        if not info.keeper_exact:
            yield Finding(
                "keeper",
                "warn",
                "this kernel cannot splice terminals: bytes may be lost if the keeper itself is killed",
                "Linux 5.12 or later can; a daemon that is killed loses nothing here, either",
            )


def check_descriptors(seen: Examined) -> Iterator[Finding]:
    """Open files of both."""
    for name, pid in (("daemon", seen.info.pid if seen.info else None), ("keeper", seen.keeper_pid)):
        if pid is None:
            continue
        try:
            count, limit = len(os.listdir(f"/proc/{pid}/fd")), descriptor_limit(pid)
        except OSError:
            continue
        message = f"the {name} has {count} of {limit} open"
        if count > limit * NEARLY:
            yield Finding(
                "descriptors", "warn", message, "close sessions, or raise the hard limit (ulimit -Hn, LimitNOFILE=)"
            )
        else:
            yield Finding("descriptors", "ok", message)


# -- files --------------------------------------------------------------------------------------------------


def check_modes(seen: Examined) -> Iterator[Finding]:
    """Directories and sockets that nobody else may use."""
    paths = seen.loaded.config.paths
    directory = os.path.dirname(paths.socket)
    wanted = {directory: 0o700, paths.state_dir: 0o700, paths.socket: 0o600}
    wanted |= {f"{directory}/{KEEPER_SOCKET}": 0o600, paths.log_file: 0o600}
    looked = 0
    for path, mode in wanted.items():
        try:
            found = os.lstat(path)
        except OSError:
            continue
        looked += 1
        actual = stat.S_IMODE(found.st_mode)
        if found.st_uid != os.geteuid():
            yield Finding("files", "fail", f"{path} belongs to another user", "remove it, or choose another place")
        elif stat.S_ISLNK(found.st_mode):
            yield Finding("files", "fail", f"{path} is a symbolic link", "remove it, or choose another place")
        elif path == paths.socket and not stat.S_ISSOCK(found.st_mode):
            pass  # that was told with the daemon
        elif actual & 0o077:
            yield Finding("files", "fail", f"{path} is open to others (mode {actual:04o})", f"chmod {mode:o} {path}")
    if looked:
        yield Finding("files", "ok", f"looked at {looked} sockets, directories and logs in {directory}")


def check_disks(seen: Examined) -> Iterator[Finding]:
    """Room on the disks that are written to."""
    from ptybridge.cli.doctor_disk import look

    paths, log_dir = seen.loaded.config.paths, seen.loaded.config.session.log_dir
    places = [("state", paths.state_dir), ("log", os.path.dirname(paths.log_file))]
    places.append(("sockets", os.path.dirname(paths.socket)))
    yield from look([*places, *([("logs of sessions", log_dir)] if log_dir is not None else [])])


def check_stale(seen: Examined) -> Iterator[Finding]:
    """Sockets that nobody serves."""
    path = seen.loaded.config.paths.socket
    keeper = os.path.join(os.path.dirname(path), KEEPER_SOCKET)
    for one, kind in ((path, socket.SOCK_STREAM), (keeper, socket.SOCK_SEQPACKET)):
        if _is_socket(one) and not answers(one, kind):
            yield Finding("files", "warn", f"nobody serves {one}", "it is replaced at the next start, or: rm " + one)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def check_logs(seen: Examined) -> Iterator[Finding]:
    """Where the logs are, and what they complain about."""
    paths = seen.loaded.config.paths
    for name in (paths.log_file, os.path.join(paths.state_dir, "keeper.log")):
        try:
            size = os.stat(name).st_size
            errors = recent_errors(name)
        except OSError:
            continue
        message = f"{name} ({output.size(size)})"
        if errors:
            last = errors[-1]
            yield Finding("log", "warn", f"{message}: {len(errors)} errors in a day, the last: {last}", f"see {name}")
        elif size > LARGE_LOG_BYTES:
            yield Finding("log", "warn", f"{message} is large", f"truncate -s 0 {name}")
        else:
            yield Finding("log", "ok", message)


# -- the system ---------------------------------------------------------------------------------------------


def check_terminals(seen: Examined) -> Iterator[Finding]:
    """/dev/ptmx and how many terminals there may be."""
    if not os.access("/dev/ptmx", os.R_OK | os.W_OK):
        yield Finding("terminals", "fail", "/dev/ptmx cannot be opened", "mount -t devpts devpts /dev/pts")
        return
    try:
        used, most = _number("/proc/sys/kernel/pty/nr"), _number("/proc/sys/kernel/pty/max")
    except (OSError, ValueError):
        yield Finding("terminals", "ok", "/dev/ptmx is there")
        return
    if used > most * NEARLY:
        yield Finding("terminals", "warn", f"{used} of {most} are in use", "sysctl kernel.pty.max, or close sessions")
    else:
        yield Finding("terminals", "ok", f"{used} of {most} are in use")


def check_limits(seen: Examined) -> Iterator[Finding]:
    """What a daemon started from here would get."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = "no limit" if hard == resource.RLIM_INFINITY else str(hard)
    message = f"{soft} open files for programs in sessions, {most} for daemon and keeper"
    if hard != resource.RLIM_INFINITY and hard < FEW_DESCRIPTORS:
        yield Finding(
            "limits", "warn", f"{message}: enough for {hard // 5} sessions", "raise the hard limit (ulimit -Hn)"
        )
    else:
        yield Finding("limits", "ok", message)


def check_platform(seen: Examined) -> Iterator[Finding]:
    """What the keeper is built on."""
    missing = [name for name in ("memfd_create", "pidfd_open", "eventfd", "splice") if not hasattr(os, name)]
    if sys.platform == "linux":
        try:
            os.close(os.memfd_create("ptybridge-doctor"))
            os.close(os.pidfd_open(os.getpid()))
        except (OSError, AttributeError) as exc:
            missing.append(str(exc))
    if missing:
        yield Finding(
            "platform",
            "warn",
            f"this system cannot have a keeper: {', '.join(missing)} missing",
            "use `serve --no-keeper`; sessions end with the daemon then",
        )
    else:
        release = os.uname().release
        yield Finding("platform", "ok", f"Linux {release}, Python {sys.version.split()[0]}: memfd, pidfd and splice")


def check_systemd(seen: Examined) -> Iterator[Finding]:
    """Whether it is a service, and stays when its user logs out."""
    unit = service.unit_file(seen.loaded.config.paths.socket)
    if not os.path.isdir("/run/systemd/system"):
        yield Finding("systemd", "ok", "does not run here; the daemon starts when a command needs it")
        return
    running = unit_of(seen.info.pid) if seen.info is not None else None
    if unit is None:
        says = "not used; `ptybridge service install` starts the daemon with your login"
        yield Finding("systemd", "ok", f"the daemon is its {running}" if running else says)
        return
    if seen.info is not None and running is None:
        yield Finding(
            "systemd",
            "warn",
            f"{unit} is installed, but this daemon was started by hand",
            "`ptybridge stop`, then `systemctl --user start ptybridge` (sessions end)",
        )
    else:
        yield Finding("systemd", "ok", f"{unit} is installed")
    import getpass

    if service.lingers(getpass.getuser()) is False:
        yield Finding("systemd", "warn", "sessions end when you log out", "`loginctl enable-linger` lets them stay")


def check_tmux(seen: Examined) -> Iterator[Finding]:
    """The tmux that sessions may be in."""
    from ptybridge.cli.doctor_tmux import look

    yield from look(seen.loaded.config.paths.tmux_socket)


CHECKS: Final[tuple[Callable[[Examined], Iterator[Finding]], ...]] = (
    check_daemon, check_keeper, check_descriptors, check_modes, check_stale, check_disks, check_logs, check_terminals,
    check_limits, check_platform, check_systemd, check_tmux,
)  # fmt: skip


# -- looking ------------------------------------------------------------------------------------------------


def lock_holder(path: str) -> int | None:
    """Return the pid that holds a flock on `path`, without trying for it; None when nobody does (proc_locks(5))."""
    try:
        inode = os.stat(path).st_ino
        with open("/proc/locks") as locks:
            for line in locks:
                fields = line.split()
                # A daemon that took over has the lock of the one before, whose pid is in this list.
                if "FLOCK" in fields and fields[1] != "->" and fields[5].endswith(f":{inode}"):
                    return int(fields[4])
    except (OSError, ValueError, IndexError):
        pass  # no such file, or another system
    return None


def _keeper_lock(loaded: Loaded) -> str:
    return os.path.join(os.path.dirname(loaded.config.paths.socket), "keeper.lock")


def descriptor_limit(pid: int) -> int:
    """Return a process's soft limit on open files."""
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdecimal() else sys.maxsize
    return sys.maxsize


def answers(path: str, kind: socket.SocketKind) -> bool:
    """Tell whether somebody listens at a Unix socket."""
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except BlockingIOError:
            return True  # its queue is full
        except OSError:
            return False
    return True


def recent_errors(path: str) -> list[str]:
    """Return the messages of the errors of the last day, from the end of a log."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - RECENT_SECONDS))
    return [line for line in lines if line[24:29] == "ERROR" and line[:19] >= since]


def unit_of(pid: int) -> str | None:
    """Return the unit of ours that a process belongs to, as its service manager calls it."""
    try:
        return unit_in(Path(f"/proc/{pid}/cgroup").read_text())
    except OSError:
        return None


def unit_in(text: str) -> str | None:
    """Return the unit of ours in the text of a process's cgroups (cgroups(7)): in the system's manager an instance."""
    found = re.search(r"/(ptybridge(?:@[^/\n]+)?\.service)(?:/|$)", text, re.MULTILINE)
    return found[1] if found else None


def _since(pid: int) -> str:
    try:
        return f", since {output.clock(int(os.stat(f'/proc/{pid}').st_ctime * 1000))}"
    except OSError:
        return ""


def _number(path: str) -> int:
    return int(Path(path).read_text())
