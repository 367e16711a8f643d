"""What may be done: ordered rules judge an action, and the first that fits decides. Pure; nothing here asks or stops.

The user's rules come first, in the order of the configuration, then the built-in ones: what an agent wants to do that
cannot be undone is asked about, everything else is allowed. A command is judged on its parse (`dangerous`) only when
a rule depends on it, so that people and scripts, of whom no rule speaks, pay nothing.
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from shlex import join
from typing import Final, Literal

import msgspec

from ptybridge.config import PolicyRule, Verdict
from ptybridge.core import dangerous
from ptybridge.core.damage import Match
from ptybridge.core.matching import finder
from ptybridge.model import Access

# The profile of AI agents; see `model.Caller`.
AGENT: Final = "mcp"
BUILT_IN: Final = (
    PolicyRule(name="dangerous-by-agent", profile=AGENT, dangerous=True, verdict="ask"),
    PolicyRule(name="default", verdict="allow"),
)


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to do. `command`: a text for a shell, or an argv; `cwd` and `home` as far as they are known.

    `kind`: starting a program, sending input to one that runs, or anything else. `dangers`: what is dangerous about it,
    where that is not to be judged on the parse.
    """

    operation: str
    command: str | Sequence[str] = ""
    kind: Literal["spawn", "input", "other"] = "other"
    principal: str = ""
    profile: str | None = None
    owner: str | None = None
    access: Access | None = None
    backend: str | None = None
    cwd: str | None = None
    home: str | None = None
    dangers: tuple[Match, ...] | None = None

    @property
    def text(self) -> str:
        """The command as one would type it."""
        return self.command if isinstance(self.command, str) else join(self.command)


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of an action, by which rule, and what is dangerous about it.

    `matches` is empty for what is allowed by a rule that does not depend on it, unless it was asked for.
    """

    verdict: Verdict
    rule: str
    matches: tuple[Match, ...] = ()


class Admission:
    """What rules that name an operation say of it, whatever it is about. One for each operation that some rule names.

    What starts programs or types (`judged`) is asked about by whoever sees the command; so here only a refusal counts
    that needs no look at it.
    """

    def __init__(self, operation: str, rules: Sequence[PolicyRule], *, judged: bool) -> None:
        self._rules = [one for one in rules if one.operation and fnmatchcase(operation, one.operation)]
        self._judged = judged

    def __bool__(self) -> bool:
        return bool(self._rules)

    def refused_by(self, profile: str | None, owner: str | None) -> str | None:
        """Return the rule that refuses it to such a caller, on a session of this owner; None if none does."""
        for rule in self._rules:
            if not _is(rule.profile, profile) or not _is(rule.owner, owner):
                continue
            looks = rule.command is not None or rule.dangerous is not None
            if looks and self._judged:
                return None  # the guard decides, who sees the command
            if looks or rule.verdict == "ask":
                continue  # no command, nothing to ask about
            return None if rule.verdict == "allow" else rule.name
        return None


class Policy:
    """The rules of one daemon. Raises `InvalidParams` for a pattern that is none, which the configuration refuses."""

    def __init__(self, rules: Sequence[PolicyRule] = ()) -> None:
        named = [
            rule if rule.name else msgspec.structs.replace(rule, name=f"rule-{number}")
            for number, rule in enumerate(rules, start=1)
        ]
        self._named = named
        self._rules = [_Compiled(rule) for rule in (*named, *BUILT_IN)]

    def admission(self, operation: str, *, judged: bool) -> Admission:
        """Return what the rules say of an operation as such; false when none of them names it."""
        return Admission(operation, self._named, judged=judged)

    def decide(self, action: Action, *, explain: bool = False) -> Decision:
        """Return what the first rule that fits says; `explain`: with the dangers of what is allowed, too."""
        judgement = _Judgement(action)
        rule = next(one.rule for one in self._rules if one.fits(action, judgement))
        # Not what rules before this one had to find out: the same rule says the same, whatever stands before it.
        told = rule.verdict != "allow" or rule.dangerous or explain
        matches = judgement.judge() if told else ()
        return Decision(verdict=rule.verdict, rule=rule.name, matches=matches)


class _Judgement:
    """What is dangerous about an action, found out when it is first needed."""

    def __init__(self, action: Action) -> None:
        self.matches: tuple[Match, ...] = ()
        self._action = action
        self._judged = False

    def judge(self) -> tuple[Match, ...]:
        if not self._judged:
            action = self._action
            if action.dangers is not None:
                self.matches = action.dangers
            else:
                self.matches = tuple(dangerous.judge(action.command, dangerous.Place(action.cwd, action.home)))
            self._judged = True
        return self.matches


class _Compiled:
    """A rule with its pattern made ready."""

    def __init__(self, rule: PolicyRule) -> None:
        self.rule = rule
        self._found: Callable[[str], bool] | None = None
        if rule.command is not None:
            self._found = finder(rule.command, regex=True, ignore_case=False)

    def fits(self, action: Action, judgement: _Judgement) -> bool:
        """Tell whether the rule speaks of the action; what is dear is looked at last."""
        rule = self.rule
        if rule.operation is not None and not fnmatchcase(action.operation, rule.operation):
            return False
        if not _is(rule.profile, action.profile) or not _is(rule.owner, action.owner):
            return False
        if self._found is not None and not self._found(action.text):
            return False
        return rule.dangerous is None or rule.dangerous == bool(judgement.judge())


def _is(wanted: str | None, value: str | None) -> bool:
    """Compare a label with what a rule wants: None wants nothing, an empty text wants that there is none."""
    return wanted is None or wanted == (value or "")
