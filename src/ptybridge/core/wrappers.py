"""Programs that run another program given on their own command line: what they would run.

For each is listed which of its options take a value of their own, so that `sudo -u root rm` is not taken for a
program called root. From the manual pages of sudo(8), doas(1), env(1), nice(1), timeout(1), xargs(1) and so on.
"""

from typing import Final

import msgspec

SHELLS: Final = frozenset("sh bash dash ash zsh ksh mksh rksh rbash fish csh tcsh yash posh".split())


class Wrapper(msgspec.Struct, frozen=True):
    """How to find the program in a wrapper's arguments.

    `values`: options followed by a value. `skip`: arguments before the program. `assigns`: NAME=value may precede it.
    `joined`: the arguments are joined and given to a shell. `script`: options whose value is given to a shell.
    `quiet`: options with which nothing is run. `optional`: without a program a shell runs, which reads its input.
    """

    values: frozenset[str] = frozenset()
    skip: int = 0
    assigns: bool = False
    joined: bool = False
    script: frozenset[str] = frozenset()
    quiet: frozenset[str] = frozenset()
    optional: bool = False


def _wrapper(
    values: str = "",
    skip: int = 0,
    *,
    assigns: bool = False,
    joined: bool = False,
    script: str = "",
    quiet: str = "",
    optional: bool = False,
) -> Wrapper:
    return Wrapper(
        values=frozenset(values.split()),
        skip=skip,
        assigns=assigns,
        joined=joined,
        script=frozenset(script.split()),
        quiet=frozenset(quiet.split()),
        optional=optional,
    )


_SUDO = _wrapper(
    "-u --user -g --group -h --host -p --prompt -C --close-from -D --chdir -R --chroot -r --role -t --type -T -U",
    assigns=True, quiet="-l --list -v --validate -k -K -V --version -e --edit", optional=True,
)  # fmt: skip
_SU = _wrapper(
    "-g --group -G -s --shell -w -P -T -u --user", skip=0, script="-c --command --session-command", optional=True
)
WRAPPERS: Final[dict[str, Wrapper]] = {
    "sudo": _SUDO,
    "doas": _wrapper("-u -C -a", quiet="-L", optional=True),
    "pkexec": _wrapper("--user", optional=True),
    "run0": _wrapper("-u --user -g --group -D --chdir --unit --property --nice", optional=True),
    "su": _SU,
    "runuser": _SU,
    "gosu": _wrapper(skip=1),
    "su-exec": _wrapper(skip=1),
    "setpriv": _wrapper("--reuid --regid --groups --inh-caps --ambient-caps --bounding-set --securebits"),
    "env": _wrapper("-u --unset -C --chdir", assigns=True, script="-S --split-string"),
    "nohup": _wrapper(),
    "time": _wrapper("-f --format -o --output"),
    "command": _wrapper(quiet="-v -V"),
    "builtin": _wrapper(),
    "exec": _wrapper("-a"),
    "coproc": _wrapper(),
    "noglob": _wrapper(),
    "nocorrect": _wrapper(),
    "busybox": _wrapper(quiet="--list --list-full"),
    "toybox": _wrapper(),
    "timeout": _wrapper("-k --kill-after -s --signal", skip=1),
    "nice": _wrapper("-n --adjustment"),
    "ionice": _wrapper("-c --class -n --classdata", quiet="-p --pid"),
    "chrt": _wrapper("-T -P -D", skip=1, quiet="-p"),
    "taskset": _wrapper(skip=1, quiet="-p"),
    "numactl": _wrapper("-i -N -C -m -p"),
    "stdbuf": _wrapper("-i -o -e --input --output --error"),
    "unbuffer": _wrapper(),
    "setsid": _wrapper(),
    "script": _wrapper("-I -O -B -T -m -o -E", script="-c --command"),
    "flock": _wrapper("-w --timeout -E", skip=1, script="-c --command"),
    "chroot": _wrapper(skip=1),
    "unshare": _wrapper("-S -G -R -w", optional=True),
    "nsenter": _wrapper("-t --target -S -G", optional=True),
    "systemd-run": _wrapper("-u --unit -p --property -E --setenv -M -H --description --slice --uid --gid --on-active"),
    "systemd-inhibit": _wrapper(),
    "dbus-run-session": _wrapper(),
    "strace": _wrapper("-e -o -s -p -u -E -P -I -b -a -X"),
    "ltrace": _wrapper("-e -o -s -p -u"),
    "valgrind": _wrapper(),
    "proxychains": _wrapper("-f"),
    "proxychains4": _wrapper("-f"),
    "torsocks": _wrapper(),
    "rlwrap": _wrapper("-f -H -l -s -C"),
    "setarch": _wrapper(skip=1),
    "linux32": _wrapper(),
    "linux64": _wrapper(),
    "watch": _wrapper("-n --interval", joined=True),
    "eval": _wrapper(joined=True),
    "xargs": _wrapper("-I -i -n -P -L -s -d -E -a --max-args --max-procs --replace --delimiter --arg-file --max-lines"),
    "parallel": _wrapper("-j --jobs -N -n -I -a --arg-file --delay --timeout", joined=True),
}
# ssh(1); what follows the host is given to a shell there.
SSH_VALUES: Final = frozenset("-B -b -c -D -E -e -F -I -i -J -L -l -m -O -o -p -Q -R -S -W -w".split())


class Inside(msgspec.Struct, frozen=True):
    """What a wrapper runs: a program with arguments, a text for a shell, or a shell that reads its input."""

    words: list[str] = []
    script: str | None = None
    shell: bool = False


def unwrap(program: str, words: list[str]) -> Inside | None:
    """Return what `words` (of the wrapper `program`) would run; None when it is no wrapper or runs nothing."""
    if program == "ssh":
        rest = (_after_options(words[1:], SSH_VALUES) or [])[1:]
        return Inside(script=" ".join(rest)) if rest else Inside(shell=True)
    if program in {"docker", "podman", "kubectl"}:
        return None
    wrapper = WRAPPERS.get(program)
    if wrapper is None:
        return None
    arguments = words[1:]
    script = _value_of(arguments, wrapper.script)
    if script is not None:
        return Inside(script=script)
    found = _after_options(arguments, wrapper.values, wrapper.quiet)
    if found is None:
        return None
    rest = found[wrapper.skip :]
    while wrapper.assigns and rest and "=" in rest[0]:
        rest = rest[1:]
    if program in {"su", "runuser"}:
        return Inside(shell=True)
    if not rest:
        return Inside(shell=True) if wrapper.optional else None
    if wrapper.joined:
        return Inside(script=" ".join(rest))
    return Inside(words=rest)


def _value_of(arguments: list[str], options: frozenset[str]) -> str | None:
    for at, one in enumerate(arguments):
        name, equals, value = one.partition("=")
        if equals and name in options and name.startswith("--"):
            return value
        if one in options:
            return arguments[at + 1] if at + 1 < len(arguments) else None
        # -cTEXT, and -lc TEXT
        for option in options:
            if len(option) == 2 and one.startswith("-") and not one.startswith("--") and option[1] in one:
                before, _, behind = one[1:].partition(option[1])
                if before.isalpha() or not before:
                    return behind or (arguments[at + 1] if at + 1 < len(arguments) else None)
    return None


def _after_options(
    arguments: list[str], values: frozenset[str], quiet: frozenset[str] = frozenset()
) -> list[str] | None:
    at = 0
    while at < len(arguments):
        one = arguments[at]
        if one == "--":
            return arguments[at + 1 :]
        if not one.startswith("-") or one == "-":
            break
        if one in quiet:
            return None
        # In a group such as -nu the last letter may take the next argument.
        grouped = not one.startswith("--") and len(one) > 2 and f"-{one[-1]}" in values and one[1:].isalpha()
        at += 2 if one in values or (grouped and f"-{one[1]}" not in values) else 1
    return arguments[at:]


def shell_script(words: list[str]) -> tuple[str | None, list[str]]:
    """Of a shell's own command line return (the text of -c or None, the words behind its options).

    bash(1) INVOCATION: -c may stand in a group (-lc); options with + and those of set(1) may precede it.
    """
    at, asked = 1, False
    while at < len(words):
        one = words[at]
        if one == "--":
            at += 1
            break
        if not one.startswith(("-", "+")) or one == "-":
            break
        if not one.startswith("--") and "c" in one[1:]:
            asked = True
        if one in {"--rcfile", "--init-file", "--command"}:
            at += 1
            if one == "--command":
                return (words[at] if at < len(words) else None), words[at + 1 :]
        elif not one.startswith("--") and one[-1:] in {"o", "O"}:
            at += 1
        at += 1
    rest = words[at:]
    if asked:
        return (rest[0] if rest else None), rest[1:]
    return None, rest
