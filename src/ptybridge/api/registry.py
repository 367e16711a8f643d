"""All operations by name. Built from the contract's modules; plugins may add theirs to a registry of their own."""

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from ptybridge.api import (
    app,
    approval,
    archive,
    attach,
    command,
    event,
    exec,
    fetch,
    file,
    find,
    key,
    lease,
    mcp,
    node,
    policy,
    recovery,
    secret,
    session,
    share,
    terminal,
    transfer,
    watch,
    web,
)
from ptybridge.api.operation import Operation
from ptybridge.errors import MethodNotFound

AnyOperation = Operation[Any, Any]
CONTRACT: tuple[ModuleType, ...] = (
    session,
    recovery,
    terminal,
    command,
    attach,
    exec,
    file,
    find,
    transfer,
    archive,
    watch,
    fetch,
    lease,
    policy,
    secret,
    approval,
    key,
    event,
    mcp,
    node,
    web,
    share,
    app,
)


class Registry:
    """Lookup by name. Raises ValueError at construction when two operations share a name, route or tool."""

    def __init__(self, operations: Iterable[AnyOperation]) -> None:
        self._by_name: dict[str, AnyOperation] = {}
        taken: set[str] = set()
        for operation in operations:
            for claim in filter(None, (operation.name, operation.http, operation.tool and f"tool {operation.tool}")):
                if claim in taken:
                    raise ValueError(f"two operations claim {claim!r}")
                taken.add(claim)
            self._by_name[operation.name] = operation

    def __iter__(self) -> Iterator[AnyOperation]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> AnyOperation:
        operation = self._by_name.get(name)
        if operation is None:
            raise MethodNotFound(f"there is no operation {name[:80]!r}")
        return operation


def contract() -> Registry:
    """Return the registry of ptybridge's own operations, in the order they are declared."""
    return Registry(value for module in CONTRACT for value in vars(module).values() if isinstance(value, Operation))
