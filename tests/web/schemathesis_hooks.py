"""What schemathesis may really do to a node: waits are short, files lie in one directory, programs only print.

Loaded by the schemathesis that `test_schemathesis.py` runs. What is changed stays what the document allows; what it
forbids goes out as it was made up.
"""

import os
import shlex
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import schemathesis

ROOT: Final = os.environ["SCHEMATHESIS_ROOT"]
# A wait takes no longer, whatever it is asked for.
SHORT_MS: Final = 50
# What ends a session by itself does so after the test.
LONG_MS: Final = 3_600_000


def _short(value: Any) -> Any:
    return min(value, SHORT_MS) if isinstance(value, int) and not isinstance(value, bool) else value


def _long(value: Any) -> Any:
    return max(value, LONG_MS) if isinstance(value, int) and value >= 0 and not isinstance(value, bool) else value


def _inside(value: Any) -> Any:
    if isinstance(value, list):
        return [_inside(one) for one in value]
    if not isinstance(value, str):
        return value
    # One component below the directory that the node has open, and short enough for a file system.
    return f"{ROOT}/{value.replace('/', '_')[:40]}"


def _printing(value: Any) -> Any:
    if isinstance(value, str) and value:
        return f"echo {shlex.quote(value)}"
    return (
        ["echo", *value] if isinstance(value, list) and value and all(isinstance(one, str) for one in value) else value
    )


_CONFINED: Final[dict[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("timeout_ms", "grace_ms", "linger_ms"), _short),
    **dict.fromkeys(("idle_timeout_ms", "max_runtime_ms", "unattended_timeout_ms"), _long),
    **dict.fromkeys(("path", "source", "sources", "destination", "log_dir"), _inside),
    "cwd": lambda value: ROOT if isinstance(value, str) else value,
    "command": _printing,
}


def _fields(operation: Any) -> dict[str, Any]:
    """Return the fields of the body that an operation takes."""
    content = operation.get("requestBody", {}).get("content", {})
    found: dict[str, Any] = content.get("application/json", {}).get("schema", {}).get("properties", {})
    return found


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], **_: Any) -> None:
    """Confine a request before it is sent."""
    # Without a limit of its own a wait has none.
    if isinstance(case.body, dict) and "timeout_ms" in _fields(case.operation.definition.raw):
        if case.body.get("timeout_ms") is None:
            case.body["timeout_ms"] = SHORT_MS
    elif "timeout_ms" in {one.get("name") for one in case.operation.definition.raw.get("parameters", ())}:
        case.query.setdefault("timeout_ms", SHORT_MS)
    if case.operation.definition.raw.get("operationId") == "session.close_all" and isinstance(case.body, dict):
        case.body.setdefault("tag", "nobody")
        case.body["tag"] = case.body["tag"] or "nobody"
    for fields in (case.body, case.query):
        if isinstance(fields, MutableMapping):
            for name in fields:
                if name in _CONFINED:
                    fields[name] = _CONFINED[name](fields[name])
