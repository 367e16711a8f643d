"""The systemd units as they are installed here: the packaged files, with this interpreter and these paths.

The files in contrib/systemd are valid as they are, for distributions whose python3 has ptybridge; what is put in
their place is found by the text they hold, so there is one source for both.
"""

import getpass
import os
import sys
from pathlib import Path
from typing import Final

import msgspec

import ptybridge
from ptybridge.config import Loaded
from ptybridge.errors import Unavailable

# What the packaged files hold, and an installation replaces.
INTERPRETER: Final = "/usr/bin/python3 -P -m"
USER_DIRECTORY: Final = "%t/ptybridge"
SYSTEM_DIRECTORY: Final = Path("/etc/systemd/system")


class Target(msgspec.Struct, frozen=True):
    """Where the units belong: in one's own service manager, or in the system's for the user `name`."""

    system: bool
    name: str

    @property
    def directory(self) -> Path:
        """Where the files go."""
        if self.system:
            return SYSTEM_DIRECTORY
        base = os.environ.get("XDG_CONFIG_HOME", "")
        return Path(base if os.path.isabs(base) else os.path.expanduser("~/.config")) / "systemd/user"

    @property
    def socket(self) -> str:
        """The unit of the sockets."""
        return self._unit("ptybridge", "socket")

    @property
    def daemon(self) -> str:
        """The unit of the daemon."""
        return self._unit("ptybridge", "service")

    @property
    def keeper(self) -> str:
        """The unit of the keeper."""
        return self._unit("ptybridge-keeper", "service")

    @property
    def units(self) -> tuple[str, str, str]:
        """All of them."""
        return self.socket, self.keeper, self.daemon

    def _unit(self, name: str, kind: str) -> str:
        return f"{name}@{self.name}.{kind}" if self.system else f"{name}.{kind}"


def target(*, system: bool, name: str | None = None) -> Target:
    """Return the target for this user, or with `system` for the user `name`."""
    return Target(system, name or getpass.getuser())


def files(where: Target, loaded: Loaded) -> dict[Path, str]:
    """Return the files to install and their texts. Raises `Unavailable` when they are not part of this installation."""
    texts = {}
    for source in sorted(_templates(where).iterdir()):
        text = source.read_text()
        if not where.system:
            text = _with_paths(text, loaded)
        text = text.replace(INTERPRETER, f"{quoted(sys.executable)} -P -m")
        texts[where.directory / source.name] = text.replace("[Service]\n", f"[Service]\n{_python_path()}", 1)
    return texts


def _templates(where: Target) -> Path:
    name = "system" if where.system else "user"
    package = Path(ptybridge.__file__).parent
    # In the wheel, and in a source tree that is installed as it is.
    for directory in (package / "contrib/systemd" / name, package.parents[1] / "contrib/systemd" / name):
        if directory.is_dir():
            return directory
    raise Unavailable("this installation of ptybridge has no systemd units", hint="install the wheel")


def _with_paths(text: str, loaded: Loaded) -> str:
    """Put in paths that are not the usual ones."""
    paths, origins = loaded.config.paths, loaded.origins
    directory, name = os.path.split(paths.socket)
    if directory != os.path.join(os.environ.get("XDG_RUNTIME_DIR", ""), "ptybridge"):
        text = text.replace(USER_DIRECTORY, escaped(directory))
    text = text.replace("/daemon.sock", "/" + escaped(name))
    settings = []
    if origins["paths.state_dir"] != "default":
        settings.append(f"Environment={quoted('PTYBRIDGE_STATE_DIR=' + paths.state_dir)}\n")
    if os.environ.get("PTYBRIDGE_CONFIG"):
        settings.append(f"Environment={quoted('PTYBRIDGE_CONFIG=' + loaded.file)}\n")
    return text.replace("[Service]\n", "[Service]\n" + "".join(settings), 1)


def _python_path() -> str:
    """Return the setting without which the interpreter would not find ptybridge, if it is only found by PYTHONPATH."""
    root = str(Path(ptybridge.__file__).parents[1])
    given = [os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return f"Environment={quoted('PYTHONPATH=' + root)}\n" if root in given else ""


def escaped(text: str) -> str:
    """Return a text as a unit file holds it: "%" begins a specifier there (systemd.unit(5))."""
    return text.replace("%", "%%")


def quoted(text: str) -> str:
    """Return a word of a command line as a unit file holds it (systemd.service(5), "Command lines")."""
    text = escaped(text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{text}"' if any(char in text for char in " \t'\"\\;") else text
