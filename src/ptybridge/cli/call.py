"""`call` and `ops`: every operation, also those without a command of their own."""

from typing import Any

import click
import msgspec

from ptybridge.api.operation import Effect
from ptybridge.api.registry import AnyOperation, contract
from ptybridge.cli import output
from ptybridge.cli.app import App
from ptybridge.cli.command import command
from ptybridge.cli.unwritten import end_with_reader
from ptybridge.errors import InvalidParams, MethodNotFound, SessionNotFound
from ptybridge.mistakes import told


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(one.name, help=one.summary) for one in contract() if one.name.startswith(incomplete)]


@command(
    "call",
    example="""
    ptybridge call session.list
    ptybridge call session.create command=htop cols=100 name=top
    ptybridge call session.wait session_id=s1 'until:=[{"exit": true}]'
    ptybridge call event.follow | jq .type
    """,
)
@click.argument("method", shell_complete=_complete)
@click.argument("assignments", nargs=-1, metavar="[K=V | K:=JSON]...")
def call_command(app: App, method: str, assignments: tuple[str, ...]) -> None:
    """Call the operation METHOD with the parameters K; print its answer as JSON.

    K=V gives a text, number or switch as the operation wants it; K:=JSON gives anything. A stream prints one line
    of JSON for each event. There is nothing added: sessions go by their ids, and nothing is filled in.
    """
    operation = _known(method)
    if operation is not None and operation.kind == "channel":
        raise click.UsageError(f"{method} is a channel of binary frames; `ptybridge attach` speaks them")
    given = _parameters(assignments)
    params = given if operation is None else _typed(given, operation)
    if operation is None:
        app.emit(app.connection.call_raw(method, params))
    elif operation.kind == "stream":
        if operation.effect is Effect.READS:
            end_with_reader()
        with app.once(operation) as connection:
            for event in connection.stream_raw(method, {name: getattr(params, name) for name in given}):
                app.emit_line(event)
    else:
        try:
            app.emit(app.client.call_raw(operation, params, given))
        except SessionNotFound as exc:
            if "session_id" in given:
                exc.hint = "operations take a session's id, not its name: `ptybridge ls` shows both"
            raise


def _known(method: str) -> AnyOperation | None:
    """Return the operation; None for one that only a newer daemon may know."""
    try:
        return contract()[method]
    except MethodNotFound:
        return None


def _parameters(assignments: tuple[str, ...]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for text in assignments:
        key, separator, value = text.partition("=")
        if not separator or not key.rstrip(":"):
            raise click.UsageError(f"{text!r} is neither K=V nor K:=JSON")
        if key.endswith(":"):
            key = key[:-1]
            try:
                params[key] = msgspec.json.decode(value)
            except msgspec.DecodeError as exc:
                raise click.UsageError(f"{key}:= needs JSON: {exc}") from exc
        else:
            params[key] = value
    return params


def _typed(params: dict[str, Any], operation: AnyOperation) -> Any:
    """Turn texts into what the operation wants: "80" into 80."""
    try:
        return msgspec.convert(params, operation.params, strict=False)
    except msgspec.ValidationError as exc:
        raise InvalidParams(
            f"{operation.name}: {told(exc, operation.params.__struct_fields__)}",
            hint=f"`ptybridge ops {operation.name}` shows its parameters",
        ) from exc


@command(
    "ops",
    example="""
    ptybridge ops
    ptybridge ops session.wait
    ptybridge ops --json | jq -r '.[].name'
    """,
)
@click.argument("method", required=False, shell_complete=_complete)
def ops_command(app: App, method: str | None) -> None:
    """List the operations that `call` and the socket offer, or show one with its parameters."""
    if method is not None:
        operation = contract()[method]
        if app.json:
            app.emit(_description(operation))
        else:
            print(*_page(operation), sep="\n")
    elif app.json:
        app.emit([_description(one) for one in contract()])
    else:
        rows = [[(one.name, "bold"), (one.kind, ""), (one.summary, "")] for one in contract()]
        print(*output.table(("OPERATION", "KIND", "WHAT IT DOES"), rows, ("KIND",)), sep="\n")


def _description(operation: AnyOperation) -> dict[str, Any]:
    return {
        "name": operation.name,
        "kind": operation.kind,
        "summary": operation.summary,
        "scope": operation.scope,
        "effect": operation.effect.value,
        "since": operation.since,
        "errors": [error.code for error in operation.errors],
        "params": msgspec.json.schema(operation.params),
        "result": msgspec.json.schema(operation.result),
    }


def _page(operation: AnyOperation) -> list[str]:
    lines = [operation.description, ""]
    parameters = msgspec.structs.fields(operation.params)
    schema = msgspec.json.schema(operation.params)
    types = schema["$defs"][operation.params.__name__]["properties"]
    rows = []
    for field in parameters:
        default = "required" if field.required else _default(field.default)
        rows.append([(field.name, "bold"), (_type(types[field.encode_name], schema), ""), (default, "dim")])
    if rows:
        lines += [*output.table(("PARAMETER", "TYPE", "DEFAULT"), rows), ""]
    answer = ", ".join(field.name for field in msgspec.structs.fields(operation.result))
    lines.append(f"answers: {answer or 'nothing'}")
    if operation.errors:
        lines.append(f"errors:  {', '.join(error.code for error in operation.errors)}")
    return lines


def _default(value: object) -> str:
    if value is msgspec.UNSET:
        return "unchanged"
    return "[]" if value is msgspec.NODEFAULT else msgspec.json.encode(value).decode()


def _type(schema: dict[str, Any], whole: dict[str, Any]) -> str:
    """Return a JSON schema in a few words."""
    if "$ref" in schema:
        named = whole["$defs"][schema["$ref"].rpartition("/")[2]]
        if "enum" in named:
            return _type(named, whole)
        return "{" + ", ".join(named.get("properties", {})) + "}"
    if "enum" in schema:
        return " | ".join(msgspec.json.encode(value).decode() for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type(part, whole) for part in schema["anyOf"])
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"[{_type(schema.get('items', {}), whole)}]"
    return {"integer": "int", "number": "float", "string": "str", "boolean": "bool"}.get(kind, kind)
