"""What single programs destroy: the judgement of one argv, without any shell around it.

Paths are judged after normalising (`//`, `.`, `..`, a trailing `/*`). Precious are the root, every top-level directory,
the home directories, and the directories of the system below them; what lies deeper is somebody's own affair.
"""

import posixpath
import re
from collections.abc import Callable
from typing import Final

import msgspec

from ptybridge.core.shellwords import HOME, UNKNOWN

Resolve = Callable[[str], str]


class Match(msgspec.Struct, frozen=True):
    """One reason to ask: the `rule` that found it, and why in plain words."""

    rule: str
    reason: str


REMOVERS: Final = frozenset({"rm", "shred", "unlink", "rmdir", "srm", "wipe", "trash"})
_STOPPERS: Final = frozenset({"shutdown", "reboot", "poweroff", "halt"})
_SYSTEMCTL: Final = frozenset("poweroff reboot halt kexec soft-reboot emergency rescue".split())
_STOPPING_TARGETS: Final = frozenset("poweroff reboot halt kexec emergency rescue shutdown runlevel0 runlevel6".split())
_MAKERS: Final = frozenset("mkfs mke2fs mkdosfs mkntfs mkswap newfs mkreiserfs".split())
_PARTITIONERS: Final = frozenset("fdisk sfdisk cfdisk sgdisk gdisk parted".split())
PROGRAMS: Final = (
    REMOVERS | _STOPPERS | _MAKERS | _PARTITIONERS
    | frozenset(
        "systemctl loginctl init telinit dd wipefs blkdiscard cryptsetup hdparm nvme badblocks chmod chown chgrp mv cp "
        "tee rsync find truncate kill ptybridge".split()
    )
)  # fmt: skip

# Devices that only discard or make data, and those of terminals.
_HARMLESS_DEVICES: Final = re.compile(
    r"(null|zero|full|u?random|tty.*|pts/.*|ptmx|std(in|out|err)|fd/.*|console|shm/.*)$"
)
# Emptied as a matter of course.
_TEMPORARY: Final = frozenset({"/tmp", "/var/tmp", "/dev/shm"})
_SYSTEM: Final = re.compile(
    r"/(usr|boot|lib|lib64)/[^/]+$|/var/(lib|log|spool|db|run|mail)$|/(home|Users)/[^/]+$|/usr/local/(bin|lib|sbin|share)$"
)
_ENDLESS: Final = frozenset({"/dev/zero", "/dev/random", "/dev/urandom", "/dev/full"})


def done(words: list[str], resolve: Resolve) -> Match | None:
    """Return why this argv is dangerous. `words[0]` is the program's bare name; `resolve` makes paths absolute."""
    program, arguments = words[0], words[1:]
    if program in _STOPPERS:
        return _stops(program, arguments)
    if program in {"init", "telinit"} and any(one in {"0", "6"} for one in arguments):
        return Match(rule="power", reason=f"{program} {arguments[-1]} stops the machine")
    if program in {"systemctl", "loginctl"}:
        return _systemctl(program, arguments)
    if program in _MAKERS or program.startswith("mkfs."):
        if set(arguments) & {"-V", "--version", "--help", "-h"}:
            return None
        return Match(rule="mkfs", reason=f"{program} makes a new filesystem over what is there")
    checks = _CHECKS.get(program)
    return checks(program, arguments, resolve) if checks is not None else None


def precious(path: str) -> str | None:
    """Return how to call a path whose loss is a disaster, None for others."""
    if not path:
        return None
    emptied = bool(re.search(r"/(\.?\*|\{?\.\*\}?|\.\[[^/]*)+$", path)) or path in {"*", ".*"}
    whole = re.sub(r"(/+\.?\*+|/+\.\[[^/]*)+$", "", path) or "/"
    if whole.startswith(HOME):
        rest = posixpath.normpath("/" + whole.removeprefix(HOME).lstrip("/"))
        climbed = whole.removeprefix(HOME).startswith("/..")
        return "the home directory" if rest == "/" or climbed else None
    if not whole.startswith("/"):
        return None
    whole = posixpath.normpath("/" + whole.lstrip("/"))
    if whole == "/":
        return "/"
    if emptied and whole in _TEMPORARY:
        return None
    if whole.count("/") == 1 or _SYSTEM.search(whole):
        return whole.replace(UNKNOWN, "…")
    return None


def written(target: str) -> Match | None:
    """Return why writing to a file by this name is dangerous."""
    if target == "/proc/sysrq-trigger":
        return Match(rule="power", reason="the kernel's emergency keys can stop the machine at once")
    if device := _device(target):
        return Match(rule="device", reason=f"it writes over the device {device}")
    return None


def _device(path: str) -> str | None:
    whole = posixpath.normpath("/" + path.lstrip("/")) if path.startswith("/") else path
    if not whole.startswith("/dev/") or _HARMLESS_DEVICES.match(whole.removeprefix("/dev/")):
        return None
    return whole.replace(UNKNOWN, "…")


# -- single programs ----------------------------------------------------------------------------------------


def _flags(arguments: list[str]) -> tuple[set[str], list[str], list[str]]:
    """Return (single letters, long options, the rest); behind -- all is rest."""
    letters: set[str] = set()
    longs: list[str] = []
    rest: list[str] = []
    for at, one in enumerate(arguments):
        if one == "--":
            rest += arguments[at + 1 :]
            break
        if one.startswith("--"):
            longs.append(one)
        elif one.startswith("-") and len(one) > 1:
            letters |= set(one[1:])
        else:
            rest.append(one)
    return letters, longs, rest


def _has(longs: list[str], name: str, shortest: int) -> bool:
    """Tell whether a long option is given, perhaps abbreviated as getopt_long(3) allows."""
    return any(name.startswith(one.partition("=")[0]) and len(one) >= shortest for one in longs)


def _stops(program: str, arguments: list[str]) -> Match | None:
    if set(arguments) & {"--help", "--version", "-c", "--show", "-h"} and program != "shutdown":
        return None
    if program == "shutdown" and set(arguments) & {"--help", "--version", "-c", "--show"}:
        return None
    return Match(rule="power", reason=f"{program} stops the machine")


def _systemctl(program: str, arguments: list[str]) -> Match | None:
    _, _, rest = _flags(arguments)
    if not rest:
        return None
    verb, targets = rest[0], {one.removesuffix(".target") for one in rest[1:]}
    if verb in _SYSTEMCTL or (verb in {"isolate", "start"} and targets & _STOPPING_TARGETS):
        return Match(rule="power", reason=f"{program} {verb} stops the machine or its services")
    return None


def _rm(program: str, arguments: list[str], resolve: Resolve) -> Match | None:
    letters, longs, rest = _flags(arguments)
    if _has(longs, "--no-preserve-root", 5):
        return Match(rule="rm", reason="rm without its guard for / deletes everything")
    recursive = bool(letters & {"r", "R"}) or _has(longs, "--recursive", 3) or program in {"trash", "srm"}
    for target in rest:
        if found := _device(target):
            return Match(rule="device", reason=f"it removes the device {found}") if recursive else None
        found = precious(resolve(target))
        if found and (recursive or target.endswith("*")):
            return Match(rule="rm", reason=f"it deletes {found} and everything below it")
    return None


def _shred(program: str, arguments: list[str], resolve: Resolve) -> Match | None:
    for target in _flags(arguments)[2]:
        if device := _device(target):
            return Match(rule="device", reason=f"{program} destroys what is on {device}")
    return None


def _dd(program: str, arguments: list[str], resolve: Resolve) -> Match | None:
    operands = dict(one.split("=", 1) for one in arguments if "=" in one)
    if device := _device(operands.get("of", "")):
        return Match(rule="dd", reason=f"dd writes over the device {device}")
    if posixpath.normpath(operands.get("if", "")) in _ENDLESS and "count" not in operands:
        return Match(rule="dd", reason="dd without a count writes until the disk is full")
    return None


def _device_tool(program: str, arguments: list[str], resolve: Resolve) -> Match | None:
    letters, longs, rest = _flags(arguments)
    reading = {
        "wipefs": not (letters & {"a", "o"} or _has(longs, "--all", 4) or _has(longs, "--offset", 5)),
        "badblocks": "w" not in letters,
        "hdparm": not any("erase" in one or "trim" in one for one in longs),
        "nvme": not set(rest) & {"format", "sanitize", "write-zeroes"},
        "cryptsetup": not set(rest) & {"luksFormat", "erase", "luksErase", "reencrypt"},
    }.get(program, False)
    if program in _PARTITIONERS:
        reading = bool(letters & {"l", "p", "d"} and program != "gdisk") or "print" in rest or _has(longs, "--list", 4)
    if reading or not rest:
        return None
    return Match(rule="device", reason=f"{program} changes or wipes {rest[-1].replace(UNKNOWN, '…')}")


def _mode(program: str, arguments: list[str], resolve: Resolve) -> Match | None:
    letters, longs, rest = _flags(arguments)
    if "R" not in letters and not _has(longs, "--recursive", 4):
        return None
    for target in rest if any(one.startswith("--reference") for one in longs) else rest[1:]:
        if found := precious(resolve(target)):
            return Match(rule="chmod", reason=f"{program} -R changes {found} and everything below it")
    return None


def _move(program: str, arguments: list[str], resolve: Resolve) -> Match | None:
    _, longs, rest = _flags(arguments)
    into = next((one.partition("=")[2] for one in longs if one.startswith("--target-directory=")), None)
    sources = rest if into is not None else rest[:-1]
    for source in sources:
        if found := precious(resolve(source)):
            return Match(rule="mv", reason=f"it moves {found} away")
    return written(rest[-1]) if rest else None


def _copy(program: str, arguments: list[str], resolve: Resolve) -> Match | None:
    rest = _flags(arguments)[2]
    targets = rest if program == "tee" else rest[-1:]
    return next((found for target in targets if (found := written(target))), None)


def _rsync(program: str, arguments: list[str], resolve: Resolve) -> Match | None:
    _, longs, rest = _flags(arguments)
    if any(one.startswith("--del") or one == "--remove-source-files" for one in longs) and rest:
        found = precious(resolve(rest[-1].rstrip("/") or "/"))
        if found:
            return Match(rule="rsync", reason=f"rsync --delete removes files below {found}")
    return None


def _kill(program: str, arguments: list[str], resolve: Resolve) -> Match | None:
    targets = [one for one in arguments if re.fullmatch(r"-?\d+", one)]
    # `kill -1 PID` sends SIGHUP; only behind a signal or -- is -1 everybody: kill(1).
    if "-1" in targets[1:] or ("--" in arguments and "-1" in arguments[arguments.index("--") :]):
        return Match(rule="kill", reason="kill -1 ends every process of this user")
    named = any(re.fullmatch(r"-[A-Z]+|-s", one) for one in arguments)
    if named and targets[-1:] == ["-1"]:
        return Match(rule="kill", reason="kill -1 ends every process of this user")
    return None


def _ptybridge(program: str, arguments: list[str], resolve: Resolve) -> Match | None:
    rest = _flags(arguments)[2]
    if (rest[:1] == ["approvals"] and {"allow", "deny"} & set(rest)) or "approval.decide" in rest:
        return Match(rule="approval", reason="it decides an approval, which is a person's to decide")
    return None


_CHECKS: Final[dict[str, Callable[[str, list[str], Resolve], Match | None]]] = {
    "rm": _rm, "trash": _rm, "srm": _rm, "shred": _shred, "wipe": _shred, "truncate": _shred, "dd": _dd,
    "chmod": _mode, "chown": _mode, "chgrp": _mode, "mv": _move, "cp": _copy, "tee": _copy, "rsync": _rsync,
    "kill": _kill, "ptybridge": _ptybridge, "wipefs": _device_tool, "blkdiscard": _device_tool, "hdparm": _device_tool,
    "cryptsetup": _device_tool, "nvme": _device_tool, "badblocks": _device_tool,
    **dict.fromkeys(_PARTITIONERS, _device_tool),
}  # fmt: skip
