"""Whether the policy's rules speak of operations there are: the configuration itself does not know their names."""

from fnmatch import fnmatchcase

from ptybridge.api.operation import takes_confirmation
from ptybridge.api.registry import contract
from ptybridge.config import Loaded, PolicyRule
from ptybridge.config.file import table_line
from ptybridge.errors import ConfigInvalid
from ptybridge.mistakes import near


def check_rules(loaded: Loaded) -> None:
    """Raise `ConfigInvalid`, naming the line, for a rule that would never do anything."""
    for number, rule in enumerate(loaded.config.policy.rule, start=1):
        problem = _problem(rule)
        if problem:
            with open(loaded.file, encoding="utf-8") as file:
                line = table_line(file.read(), "policy.rule", number, "operation")
            raise ConfigInvalid(f"{loaded.file}:{line}: policy.rule.operation: {problem}")


def _problem(rule: PolicyRule) -> str:
    if rule.operation is None:
        return ""
    operations = contract()
    named = [one for one in operations if fnmatchcase(one.name, rule.operation)]
    if not named:
        advice = near(rule.operation, [one.name for one in operations])
        return f"there is no operation {rule.operation!r}{advice}"
    if any(takes_confirmation(one) for one in named):
        return ""
    if rule.verdict == "ask":
        return f"nobody can be asked about {rule.operation!r}, which starts nothing and types nothing: allow or deny it"
    if rule.command is not None or rule.dangerous is not None:
        return f"{rule.operation!r} has no command that `command` or `dangerous` could look at"
    return ""
