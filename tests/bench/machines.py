"""P14, P15: a machine as an API, beside what people use for it: ssh, scp, and curl with nginx, all on the loopback."""

import filecmp
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.lab import PATIENCE_SECONDS, Daemon, Lab, wait_for
from tests.bench.results import OURS, Contender, Row, compare

from ptybridge import Client

ENDING_SECONDS = 5.0
# Debian has servers where only root looks.
SERVERS = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def run_true(lab: Lab) -> list[Row]:
    """P14: `exec.run` of a program that does nothing, beside the same from this process, and through ssh."""
    count = lab.size(10, 2)

    def timed(run: Callable[[], object]) -> Contender:
        def figure() -> float:
            begin = time.perf_counter()
            for _ in range(count):
                run()
            return (time.perf_counter() - begin) / count * 1000

        return figure

    with ExitStack() as stack:
        client = stack.enter_context(_client(stack.enter_context(lab.daemon())))
        server = stack.enter_context(_sshd(lab))
        contenders: dict[str, Contender | None] = {
            OURS: timed(lambda: client.exec.run(["true"])),
            "subprocess.run": timed(lambda: subprocess.run(["true"], check=True)),
            "ssh": None,
            "ssh, connected": None,
        }
        if server is not None:
            ssh = ["ssh", *server.options]
            contenders["ssh"] = timed(lambda: subprocess.run([*ssh, server.host, "true"], check=True))
            shared = [*ssh, "-o", f"ControlPath={lab.directory}/mux", "-o", "ControlMaster=auto"]
            # The first one stays for the others.
            master = subprocess.Popen([*shared, "-N", server.host], stdin=subprocess.DEVNULL)
            stack.callback(_end, master)
            wait_for(lambda: Path(f"{lab.directory}/mux").exists(), "ssh")
            contenders["ssh, connected"] = timed(lambda: subprocess.run([*shared, server.host, "true"], check=True))
        return compare("P14", "exec.run true", "ms", contenders, [], lab.rounds)


def transfers(lab: Lab) -> list[Row]:
    """P15: a large file up and down, verified and on the disk with us, beside `curl` to nginx and `scp`."""
    size = lab.size(256 << 20, 1 << 20)
    here, there = lab.directory / "here", lab.directory / "there"
    source, arrived, got = here / "source", there / "arrived", here / "got"
    for one in (here, there):
        one.mkdir(exist_ok=True)
        one.chmod(0o755)
    source.write_bytes(os.urandom(1 << 20) * (size >> 20))

    def timed(run: Callable[[], object], made: Path) -> Contender:
        def figure() -> float:
            made.unlink(missing_ok=True)
            begin = time.perf_counter()
            run()
            took = time.perf_counter() - begin
            assert filecmp.cmp(source, made, shallow=False)
            return size / took / 1e6

        return figure

    def command(*words: str) -> Callable[[], object]:
        return lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    with ExitStack() as stack:
        client = stack.enter_context(_client(stack.enter_context(lab.daemon())))
        server = stack.enter_context(_sshd(lab))
        web = stack.enter_context(_nginx(lab, there)) if _program("curl") else None
        (there / "source").write_bytes(source.read_bytes())
        up: dict[str, Contender | None] = {
            OURS: timed(lambda: client.files.upload(source, arrived), arrived),
            "curl, nginx": None,
            "scp": None,
        }
        down: dict[str, Contender | None] = {
            OURS: timed(lambda: client.files.download(there / "source", got), got),
            "curl, nginx": None,
            "scp": None,
        }
        if web is not None:
            up["curl, nginx"] = timed(command("curl", "-sfT", str(source), f"{web}/arrived"), arrived)
            down["curl, nginx"] = timed(command("curl", "-sfo", str(got), f"{web}/source"), got)
        if server is not None:
            scp = ("scp", "-q", *(word.replace("-p", "-P", 1) for word in server.options))
            up["scp"] = timed(command(*scp, str(source), f"{server.host}:{arrived}"), arrived)
            down["scp"] = timed(command(*scp, f"{server.host}:{there / 'source'}", str(got)), got)
        return [
            *compare("P15", f"upload of {size >> 20} MiB", "MB/s", up, [], lab.rounds),
            *compare("P15", f"download of {size >> 20} MiB", "MB/s", down, [], lab.rounds),
        ]


@contextmanager
def _client(daemon: Daemon) -> Iterator[Client]:
    with Client.local(socket=daemon.socket, start=False) as client:
        yield client


class _Server:
    def __init__(self, options: list[str], host: str) -> None:
        self.options = options
        self.host = host


@contextmanager
def _sshd(lab: Lab) -> Iterator[_Server | None]:
    """Run an ssh server with keys of its own; None, and the reason on standard error, where there is none."""
    sshd = _program("sshd")
    if sshd is None or _program("ssh") is None or _program("scp") is None:
        _missing("ssh, scp", "openssh-server openssh-client")
        yield None
        return
    home = lab.directory / "ssh"
    home.mkdir(mode=0o700, exist_ok=True)
    for name in ("host", "user"):
        if not (home / name).exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True)
    port = _free_port()
    (home / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host\nAuthorizedKeysFile {home}/user.pub\nPidFile none\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # it insists
    process = subprocess.Popen([sshd, "-D", "-e", "-f", home / "config"], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _listens(port) or process.poll() is not None, "sshd")
        options = ["-p", str(port), "-i", str(home / "user"), "-F", "none", "-o", "StrictHostKeyChecking=no"]
        options += ["-o", f"UserKnownHostsFile={home}/known", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]
        server = _Server(options, f"{getpass.getuser()}@127.0.0.1")
        works = _works("ssh", ["ssh", *options, server.host, "true"])
        yield server if works else None
    finally:
        _end(process)


@contextmanager
def _nginx(lab: Lab, root: Path) -> Iterator[str | None]:
    """Run nginx with a directory to read and to put into; yield its address, or None where it cannot be run."""
    nginx = _program("nginx")
    if nginx is None:
        _missing("nginx", "nginx-light")
        yield None
        return
    home = lab.directory / "nginx"
    home.mkdir(exist_ok=True)
    port = _free_port()
    user = f"user {getpass.getuser()};\n" if os.geteuid() == 0 else ""
    paths = "".join(
        f"{name}_temp_path {home}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (home / "config").write_text(
        f"{user}daemon off;\npid {home}/pid;\nerror_log {home}/errors;\nworker_processes 1;\nevents {{}}\n"
        f"http {{\naccess_log off;\nsendfile on;\nclient_max_body_size 0;\n{paths}"
        f"server {{ listen 127.0.0.1:{port}; root {root}; location / {{ dav_methods PUT; }} }}\n}}\n"
    )
    process = subprocess.Popen([nginx, "-c", home / "config"], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _listens(port) or process.poll() is not None, "nginx")
        (home / "probe").write_bytes(b"x")
        address = f"http://127.0.0.1:{port}"
        yield address if _works("curl to nginx", ["curl", "-sfT", home / "probe", f"{address}/probe"]) else None
    finally:
        _end(process)


def _program(name: str) -> str | None:
    return shutil.which(name, path=SERVERS)


def _missing(what: str, packages: str) -> None:
    print(f"without {what}: apt install {packages}", file=sys.stderr)


def _works(what: str, command: list[str | Path]) -> bool:
    """Try a peer; where it is there and does not work its rows are left out, with the reason on standard error."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    if done.returncode != 0:
        print(f"{what} does not work here: {done.stderr.strip() or done.returncode}", file=sys.stderr)
    return done.returncode == 0


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # an ssh that shares its connection may miss the signal
        process.wait(timeout=PATIENCE_SECONDS)
