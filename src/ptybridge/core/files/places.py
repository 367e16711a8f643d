"""Where a caller may go: paths become an open directory and one name in it, and everything is done by these two.

How it works: the user at the socket goes wherever the system lets them. Everybody else is confined: below the
configured roots, never through a symbolic link, never to what holds credentials. The path is split once; the
directory is opened below its root by `openat2`, and what follows is done to (directory, name), where name has no
slash and is never followed. So exchanging a directory for a link at any moment changes nothing: either the old
directory is held, or the link is refused.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from ptybridge.core.files.failures import failing, translated
from ptybridge.core.files.openat import DIRECTORY, O_PATH, open_beneath, reopen
from ptybridge.errors import FileNotFound, InvalidParams, IsADirectory, NotAFile, OutsideRoots
from ptybridge.model import Caller

# What holds passwords, keys and cookies, wherever it lies; compared without regard to case.
CREDENTIALS: Final = (
    ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker/config.json", ".netrc", "_netrc", ".git-credentials",
    ".pgpass", ".my.cnf", ".npmrc", ".pypirc", ".vault-token", ".password-store", ".config/gcloud", ".config/gh",
    ".config/git/credentials", ".config/rclone", ".local/share/keyrings", ".cargo/credentials",
    ".cargo/credentials.toml", ".terraform.d/credentials.tfrc.json", ".mozilla", ".thunderbird",
    ".config/google-chrome", ".config/chromium", ".config/BraveSoftware", ".config/microsoft-edge",
    ".config/vivaldi", ".config/opera", "snap/firefox", "snap/chromium", ".bash_history", ".zsh_history",
    ".python_history", ".env",
)  # fmt: skip
# Templates without secrets; every other `.env.something` counts as `.env`.
_ENV_TEMPLATES: Final = {".env.example", ".env.sample", ".env.template", ".env.dist"}


class Place:
    """One entry of an open directory: `name` in `dir_fd`; "." for a root or "/". `path` is for people."""

    def __init__(self, dir_fd: int, name: str, path: str, rules: "Rules | None") -> None:
        self.dir_fd = dir_fd
        self.name = name
        self.path = path
        self.rules = rules

    @property
    def confined(self) -> bool:
        """Whether the caller is kept below roots."""
        return self.rules is not None

    def below(self, dir_fd: int, name: str) -> "Place":
        """Return the entry of a directory below, which the caller keeps open. Raises `OutsideRoots`."""
        path = os.path.join(self.path, name)
        if self.rules is not None:
            self.rules.check(path)
        return Place(dir_fd, name, path, self.rules)

    def stat(self) -> os.stat_result:
        """Return what the entry is; a link is a link."""
        with failing(self.path):
            return os.stat(self.name, dir_fd=self.dir_fd, follow_symlinks=False)

    def stat_or_none(self) -> os.stat_result | None:
        """Return what the entry is, None if there is nothing."""
        try:
            return self.stat()
        except FileNotFound:
            return None

    def open_directory(self) -> int:
        """Open it as a directory that can be listed. Raises `NotADirectory`."""
        with failing(self.path):
            return os.open(self.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.dir_fd)

    def open_file(self, flags: int = os.O_RDONLY) -> int:
        """Open it as a file. Never waits, never touches a device. Raises `NotAFile`, `IsADirectory`."""
        with failing(self.path):
            pinned = os.open(self.name, O_PATH | os.O_NOFOLLOW, dir_fd=self.dir_fd)
            try:
                self._check_file(os.fstat(pinned))
                return reopen(pinned, flags)
            finally:
                os.close(pinned)

    def _check_file(self, found: os.stat_result) -> None:
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectory(f"{self.path} is a directory", path=self.path)
        if stat.S_ISLNK(found.st_mode):
            raise translated(OSError(errno.ENOENT, ""), self.path) if self.rules is None else _link(self.path)
        if not stat.S_ISREG(found.st_mode):
            raise NotAFile(f"{self.path} is a device, a FIFO or a socket", path=self.path)
        if self.rules is not None and not self.rules.hard_links and found.st_nlink > 1:
            raise OutsideRoots(
                f"{self.path} has other names ({found.st_nlink} hard links), which may lie elsewhere",
                hint="`[files] hard_links = true` allows it",
                path=self.path,
            )


class Rules:
    """What holds for confined callers."""

    def __init__(
        self, roots: Sequence[str] = (), deny: Sequence[str] = (), *, hard_links: bool = True, own: Sequence[str] = ()
    ) -> None:
        """Build them. `own`: directories of ours, absolute, which are kept from such callers wherever they lie."""
        self.given = [os.path.abspath(os.path.expanduser(root)) for root in (roots or ("~",))]
        self.hard_links = hard_links
        self._denied = [_parts(one.casefold()) for one in (*CREDENTIALS, *deny) if not one.startswith(("/", "~"))]
        absolute = [*own, *(one for one in deny if one.startswith(("/", "~")))]
        self._own = [_parts(os.path.realpath(os.path.expanduser(one)).casefold()) for one in absolute]

    def split(self, path: str) -> tuple[str, str]:
        """Return the root an absolute path lies below, resolved, and the rest. Raises `OutsideRoots`."""
        parts = _parts(path)
        if ".." in parts:
            raise OutsideRoots(f"{path} goes up by '..'", hint="write the path without it", path=path)
        best: tuple[int, str] | None = None
        for given in self.given:
            real = os.path.realpath(given)
            for form in (_parts(given), _parts(real)):
                if parts[: len(form)] == form and (best is None or len(form) > best[0]):
                    best = len(form), real
        if best is None:
            raise OutsideRoots(f"{path} lies outside of {', '.join(self.given)}", path=path)
        rest = "/".join(parts[best[0] :])
        self.check(os.path.join(best[1], rest))
        return best[1], rest

    def check(self, path: str) -> None:
        """Raise `OutsideRoots` for what holds credentials, or is ptybridge's own."""
        parts = _parts(path.casefold())
        own = any(parts[: len(one)] == one for one in self._own)
        if own or any(self._holds(parts, one) for one in self._denied) or any(map(_environment, parts)):
            raise OutsideRoots(
                f"{path} holds credentials, or what ptybridge keeps for itself",
                hint="such files are kept from agents and remote callers; use them at the machine",
                path=path,
            )

    @staticmethod
    def _holds(parts: list[str], denied: list[str]) -> bool:
        size = len(denied)
        return any(parts[at : at + size] == denied for at in range(len(parts) - size + 1))


class Places:
    """Turns the paths of callers into places."""

    def __init__(self, rules: Rules | None = None) -> None:
        self._rules = rules or Rules()

    def rules_for(self, caller: Caller) -> Rules | None:
        """Return what a caller has to keep to: None for the user at the socket."""
        return None if caller.profile is None and "*" in caller.scopes else self._rules

    @contextmanager
    def at(
        self, caller: Caller, path: str, cwd: str | None = None, *, follow: bool = True, make_parents: bool = False
    ) -> Iterator[Place]:
        """Find the place of a path; it can be used inside the block. The entry itself need not exist.

        `follow`: a link in the last place leads on, for those who may follow links at all. Blocking.
        Raises `InvalidParams`, `OutsideRoots` and what the system says.
        """
        rules = self.rules_for(caller)
        full = absolute(path, cwd)
        if rules is None:
            with failing(full):
                directory, name, shown = _free(full, follow)
            with failing(shown):
                if make_parents:
                    os.makedirs(directory, exist_ok=True)
                dir_fd = os.open(directory, DIRECTORY)
        else:
            root, rest = rules.split(full)
            shown = os.path.join(root, rest) if rest else root
            directory, _, name = rest.rpartition("/")
            dir_fd = _open_confined(root, directory, shown, make_parents)
        try:
            yield Place(dir_fd, name or ".", shown, rules)
        finally:
            os.close(dir_fd)


def absolute(path: str, cwd: str | None) -> str:
    """Return a path from the root on: `~` and `~user` are known. Raises `InvalidParams`."""
    for one in (path, cwd or ""):
        if "\0" in one:
            raise InvalidParams("a path cannot contain a NUL character")
        try:
            os.fsencode(one)
        except UnicodeEncodeError as exc:
            raise InvalidParams("a path cannot contain half a surrogate pair") from exc
    if not path:
        raise InvalidParams("the path is empty")
    full = os.path.expanduser(path)
    if full.startswith("~"):
        raise InvalidParams(f"there is no user {path[1:].partition('/')[0]!r} whose home {path} could lie in")
    if not os.path.isabs(full):
        base = os.path.expanduser(cwd) if cwd else ""
        if not os.path.isabs(base):
            raise InvalidParams(f"{path} is relative", hint="give a path that begins with / or ~, or an absolute `cwd`")
        full = os.path.join(base, full)
    return full


def _free(full: str, follow: bool) -> tuple[str, str, str]:
    """Split a path for somebody who may go everywhere: the directory, the name in it, the path to show."""
    # `a/link/` and `a/link/.` mean what the link leads to, as for every program.
    if follow or os.path.basename(full) in ("", ".", ".."):
        full = os.path.realpath(full)
    directory, name = os.path.split(full)
    return directory, name or ".", full


def _open_confined(root: str, directory: str, shown: str, make: bool) -> int:
    with failing(root):
        root_fd = os.open(root, DIRECTORY)
    try:
        if make:
            _make_below(root_fd, directory, shown)
        return open_beneath(root_fd, directory)
    except OSError as exc:
        if exc.errno in {errno.ELOOP, errno.EXDEV}:
            raise _link(shown) from exc
        raise translated(exc, shown) from exc
    finally:
        os.close(root_fd)


def _make_below(root_fd: int, directory: str, shown: str) -> None:
    parts = _parts(directory)
    for count in range(1, len(parts) + 1):
        above = open_beneath(root_fd, "/".join(parts[: count - 1]))
        try:
            os.mkdir(parts[count - 1], dir_fd=above)
        except FileExistsError:
            pass  # if it is a link, or no directory, opening it will say so
        finally:
            os.close(above)


def _link(path: str) -> OutsideRoots:
    return OutsideRoots(
        f"a symbolic link stands in the way of {path}, and this caller may not follow links",
        hint="give the path without links",
        path=path,
    )


def _environment(part: str) -> bool:
    return part.startswith(".env.") and part not in _ENV_TEMPLATES


def _parts(path: str) -> list[str]:
    return [one for one in path.split("/") if one not in ("", ".")]
