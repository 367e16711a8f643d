"""What an operation is: a name, typed parameters and result, the scope it needs, its effect and its errors.

Three kinds: a `call` answers once, a `stream` sends events until it ends, a `channel` opens duplex binary frames.
Everything a front end shows of an operation is derived from these values; behaviour binds to them in `service/`.
"""

from dataclasses import dataclass
from enum import Enum
from inspect import cleandoc
from typing import Annotated, Any, Generic, Literal, TypeVar, dataclass_transform

import msgspec

from ptybridge.errors import PtybridgeError


# Type checkers have to be told: msgspec inherits `frozen` and `kw_only`, plain dataclasses do not (PEP 681).
@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of parameters. Unknown fields are refused, so that a typing mistake never passes silently."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Base of results and of stream events. Clients ignore fields they do not know."""


class NoParams(Params):
    """Takes no parameters."""


class Done(Result):
    """Nothing to report but that it is done."""


class Effect(Enum):
    """What a call does to the world; front ends derive HTTP methods and agents' hints from it."""

    READS = "reads"
    MUTATES = "mutates"
    DESTROYS = "destroys"


Kind = Literal["call", "stream", "channel"]
SessionId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="id of a session")]
ClientId = Annotated[
    str, msgspec.Meta(min_length=1, max_length=128, description="a name for the caller; positions belong to it")
]
# Given by `policy.confirm`; needed when a call is refused with `ConfirmationRequired`.
ConfirmToken = Annotated[
    str, msgspec.Meta(min_length=1, max_length=128, description="confirms this dangerous command; from policy.confirm")
]

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=msgspec.Struct)


@dataclass(frozen=True)
class Operation(Generic[P, R]):
    """One capability. `result` is the answer of a call, or the opening answer of a stream or channel."""

    name: str
    kind: Kind
    params: type[P]
    result: type[R]
    scope: str
    effect: Effect
    errors: tuple[type[PtybridgeError], ...]
    since: str
    http: str | None = None
    tool: str | None = None
    events: tuple[type[msgspec.Struct], ...] = ()

    @property
    def summary(self) -> str:
        """The first line of the parameters' docstring."""
        return (self.params.__doc__ or "").strip().splitlines()[0]

    @property
    def description(self) -> str:
        """The whole docstring of the parameters, unindented."""
        return cleandoc(self.params.__doc__ or "")


def declare(
    name: str,
    params: type[P],
    result: type[R],
    *,
    scope: str,
    effect: Effect,
    since: str,
    errors: tuple[type[PtybridgeError], ...] = (),
    http: str | None = None,
    tool: str | None = None,
) -> Operation[P, R]:
    """Declare an operation that answers once."""
    return Operation(name, "call", params, result, scope, effect, errors, since, http, tool)


def declare_stream(
    name: str,
    params: type[P],
    opened: type[R],
    *,
    events: tuple[type[msgspec.Struct], ...],
    scope: str,
    since: str,
    effect: Effect = Effect.READS,
    errors: tuple[type[PtybridgeError], ...] = (),
    http: str | None = None,
) -> Operation[P, R]:
    """Declare an operation that answers `opened` and then sends events until it ends."""
    return Operation(name, "stream", params, opened, scope, effect, errors, since, http, None, events)


def declare_channel(
    name: str,
    params: type[P],
    opened: type[R],
    *,
    scope: str,
    since: str,
    errors: tuple[type[PtybridgeError], ...] = (),
    http: str | None = None,
) -> Operation[P, R]:
    """Declare an operation that answers `opened` and then turns into a duplex channel of binary frames."""
    return Operation(name, "channel", params, opened, scope, Effect.MUTATES, errors, since, http)


def takes_confirmation(operation: Operation[Any, Any]) -> bool:
    """Tell whether the operation starts a program or types: the policy sees its command, and may ask."""
    return "confirm_token" in operation.params.__struct_fields__
