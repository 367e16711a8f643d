"""The one way to every capability: decode → authorise → handler → errors → audit. Front ends see an `Endpoint`.

Handlers bind to operations with `@handles`. A plain function answers without ever waiting and is run in place (the
fast lane); a coroutine function may wait. The dispatcher refuses to be built when an operation has no handler, two,
or one whose annotations differ from the contract.
"""

import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar, get_type_hints

import msgspec
import trio

from ptybridge.api.endpoint import Channel, EventSink
from ptybridge.api.operation import Effect, Kind, NoParams
from ptybridge.api.registry import AnyOperation, Registry
from ptybridge.errors import Denied, InternalError, InvalidParams, InvalidRequest, PtybridgeError
from ptybridge.mistakes import is_of_names, told
from ptybridge.model import Caller
from ptybridge.service import authority

log = logging.getLogger(__name__)
audit = logging.getLogger("ptybridge.audit")

F = TypeVar("F", bound=Callable[..., Any])
After = Callable[[Caller, AnyOperation, msgspec.Struct, msgspec.Struct], None]
Admit = Callable[[Caller, AnyOperation, msgspec.Struct], None]
_MARK = "__ptybridge_operation__"
_EMPTY = msgspec.Raw(b"{}")


def handles(operation: AnyOperation) -> Callable[[F], F]:
    """Mark a method as the handler of an operation."""

    def mark(function: F) -> F:
        setattr(function, _MARK, operation)
        return function

    return mark


class Outgoing(Protocol):
    """Sees, and may change, what callers get."""

    def answer(self, caller: Caller, params: msgspec.Struct, answer: msgspec.Struct) -> msgspec.Struct: ...
    def sink(self, caller: Caller, params: msgspec.Struct, sink: Any) -> Any: ...
    def channel(self, caller: Caller, operation: str) -> None: ...


class _Bound:
    """An operation with its handler and decoder."""

    def __init__(self, operation: AnyOperation, handler: Callable[..., Any]) -> None:
        self.operation = operation
        self.handler = handler
        self.waits = inspect.iscoroutinefunction(handler)
        self.decoder = msgspec.json.Decoder(operation.params)
        self.audited = operation.effect is not Effect.READS


class Dispatcher:
    """The local endpoint."""

    def __init__(
        self,
        registry: Registry,
        services: Iterable[object],
        after: After | None = None,
        outgoing: Outgoing | None = None,
        admit: Admit | None = None,
    ) -> None:
        """Bind all operations. `after` is told of each call that was answered; `outgoing` sees all that goes out.

        `admit` sees each call before its handler, and raises what refuses it.
        """
        self._outgoing = outgoing
        self._admit = admit
        self.registry = registry
        self._after = after
        self.calls: Counter[str] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self._bound: dict[str, _Bound] = {}
        for service in services:
            for _, method in inspect.getmembers(service, callable):
                operation = getattr(method, _MARK, None)
                if operation is not None:
                    self._bind(operation, method)
        missing = [operation.name for operation in registry if operation.name not in self._bound]
        if missing:
            raise ValueError(f"no handler for {', '.join(missing)}")

    def _bind(self, operation: AnyOperation, method: Callable[..., Any]) -> None:
        if operation.name in self._bound:
            raise ValueError(f"two handlers for {operation.name}")
        hints = get_type_hints(method)
        if hints.get("params") is not operation.params:
            raise ValueError(f"the handler of {operation.name} must take params: {operation.params.__name__}")
        if operation.kind == "call" and hints.get("return") is not operation.result:
            raise ValueError(f"the handler of {operation.name} must return {operation.result.__name__}")
        self._bound[operation.name] = _Bound(operation, method)

    # -- Endpoint -------------------------------------------------------------------------------------------

    def kind(self, method: str) -> Kind:
        """Return the operation's kind. Raises `MethodNotFound`."""
        return self.registry[method].kind

    def call_nowait(self, caller: Caller, method: str, params: msgspec.Raw | None) -> msgspec.Struct | None:
        """Answer at once, or return None when the operation may wait."""
        bound = self._bound.get(method)
        if bound is None or bound.waits or bound.operation.kind != "call":
            return None
        decoded = self._prepare(bound, caller, params)
        try:
            answer: msgspec.Struct = bound.handler(caller, decoded)
        except Exception as exc:
            raise self._failed(bound, caller, exc) from exc
        self._succeeded(bound, caller, decoded, answer)
        return answer if self._outgoing is None else self._outgoing.answer(caller, decoded, answer)

    async def call(self, caller: Caller, method: str, params: msgspec.Raw | None) -> msgspec.Struct:
        """Call an operation. Raises `PtybridgeError` only."""
        bound = self._of_kind(method, "call")
        decoded = self._prepare(bound, caller, params)
        try:
            answer = bound.handler(caller, decoded)
            if bound.waits:
                answer = await answer
        except Exception as exc:
            raise self._failed(bound, caller, exc) from exc
        self._succeeded(bound, caller, decoded, answer)
        result: msgspec.Struct = answer
        return result if self._outgoing is None else self._outgoing.answer(caller, decoded, result)

    async def stream(self, caller: Caller, method: str, params: msgspec.Raw | None, sink: EventSink) -> str:
        """Run a stream into `sink`; return why it ended."""
        reason: str = await self._run(self._of_kind(method, "stream"), caller, params, sink)
        return reason

    async def open(self, caller: Caller, method: str, params: msgspec.Raw | None, channel: Channel) -> None:
        """Run a channel until either side ends it."""
        await self._run(self._of_kind(method, "channel"), caller, params, channel)

    # -- inside ---------------------------------------------------------------------------------------------

    async def _run(self, bound: _Bound, caller: Caller, params: msgspec.Raw | None, peer: object) -> Any:
        decoded = self._prepare(bound, caller, params)
        if self._outgoing is not None and bound.operation.kind == "channel":
            self._outgoing.channel(caller, bound.operation.name)
        self._succeeded(bound, caller, decoded, None)
        handler: Callable[..., Awaitable[Any]] = bound.handler
        if self._outgoing is not None and bound.operation.kind == "stream":
            peer = self._outgoing.sink(caller, decoded, peer)
        try:
            return await handler(caller, decoded, peer)
        except Exception as exc:
            if _is_gone(exc):
                # Nobody's failure, and the same out of a nursery.
                raise trio.BrokenResourceError("the peer has gone away") from exc
            raise self._failed(bound, caller, exc) from exc

    def _of_kind(self, method: str, kind: Kind) -> _Bound:
        operation = self.registry[method]
        if operation.kind != kind:
            raise InvalidRequest(f"{method} is a {operation.kind}, not a {kind}")
        return self._bound[method]

    def _prepare(self, bound: _Bound, caller: Caller, params: msgspec.Raw | None) -> msgspec.Struct:
        operation = bound.operation
        self.calls[operation.name] += 1
        if not authority.may(caller, operation.scope):
            raise Denied(f"{operation.name} needs the scope {operation.scope}")
        try:
            decoded: msgspec.Struct = bound.decoder.decode(_EMPTY if params is None else params)
        except msgspec.ValidationError as exc:
            message = told(exc, operation.params.__struct_fields__)
            hint = _expected(operation) if is_of_names(exc) else None
            raise InvalidParams(f"{operation.name}: {message}", hint=hint) from exc
        except (msgspec.DecodeError, RecursionError) as exc:
            raise InvalidParams(f"{operation.name}: the parameters are not valid JSON ({exc})") from exc
        if caller.session_ids is not None:
            authority.require_visible(caller, operation.name, decoded)
        if self._admit is not None:
            self._admit(caller, operation, decoded)
        return decoded

    def _failed(self, bound: _Bound, caller: Caller, exc: Exception) -> PtybridgeError:
        name = bound.operation.name
        if not isinstance(exc, PtybridgeError):
            log.error("%s failed", name, exc_info=exc)
            exc = InternalError(f"{name} failed by a defect in ptybridge; the log has the details")
        self.failures[name, exc.code] += 1
        if bound.audited:
            audit.info("%s by %s (%s) refused: %s", name, caller.principal, caller.connection_id, exc.code)
        return exc

    def _succeeded(self, bound: _Bound, caller: Caller, decoded: msgspec.Struct, answer: msgspec.Struct | None) -> None:
        if self._after is not None and answer is not None:
            self._after(caller, bound.operation, decoded, answer)
        if bound.audited:
            session_id = getattr(decoded, "session_id", getattr(answer, "session_id", "-"))
            audit.info("%s %s by %s (%s)", bound.operation.name, session_id, caller.principal, caller.connection_id)


def _expected(operation: AnyOperation) -> str:
    if operation.params is NoParams or not operation.params.__struct_fields__:
        return f"{operation.name} takes no parameters"
    return f"{operation.name} takes {', '.join(operation.params.__struct_fields__)}"


def _is_gone(exc: BaseException) -> bool:
    """Tell whether this says, alone or out of a nursery, that the peer has gone away and nothing else."""
    if isinstance(exc, BaseExceptionGroup):
        return all(_is_gone(each) for each in exc.exceptions)
    return isinstance(exc, trio.BrokenResourceError | trio.ClosedResourceError)
