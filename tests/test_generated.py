"""What is made from the contract is checked in and true: references, the protocol's tables, the checklist's names."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from ptybridge import errors
from ptybridge.api import describe
from ptybridge.api.operation import Effect, NoParams, Operation
from ptybridge.api.registry import Registry, contract
from ptybridge.config import Config, Paths
from ptybridge.daemon import Daemon
from ptybridge.errors import PtybridgeError
from ptybridge.service.dispatcher import Dispatcher, handles
from ptybridge.wire import attach as frames

ROOT = Path(__file__).parent.parent
PROTOCOL = ROOT / "docs" / "protocol.md"
CHECKLISTS = ROOT / "docs" / "checklists.md"
OPERATIONS = {one.name: one for one in contract()}
# Lines of the checklists that speak of what is built; the rest wait for theirs.
COVERED = [
    *(f"R{n:02}" for n in [*range(1, 13), *range(16, 23), 29, 30]),
    *(f"S{n:02}" for n in [*range(12, 21), 22, 23, 24, 26, 27, 28, 30]),
]


# -- references ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["operations.md", "openrpc.json", "openapi.json"])
def test_the_references_are_those_of_the_contract(name: str, tmp_path: Path) -> None:
    describe.main(str(tmp_path))
    made = (tmp_path / name).read_text(encoding="utf-8")
    kept = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert made == kept, "run `make docs`"


def test_the_references_can_be_made_by_a_command(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "ptybridge.api.describe", str(tmp_path / "made")], check=True)
    assert sorted(one.name for one in (tmp_path / "made").iterdir()) == [
        "openapi.json",
        "openrpc.json",
        "operations.md",
    ]


def test_openrpc_is_complete_and_refers_only_to_what_is_there() -> None:
    document = json.loads(msgspec.json.encode(describe.openrpc(contract())))
    assert [one["name"] for one in document["methods"]] == list(OPERATIONS)
    text = json.dumps(document)
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert name in document["components"]["schemas"]
    for method in document["methods"]:
        operation = OPERATIONS[method["name"]]
        assert [one["name"] for one in method["params"]] == list(operation.params.__struct_fields__)
        assert {one["code"] for one in method["errors"]} == {one.rpc_code for one in operation.errors}


# -- the contract --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_operation_is_fully_declared(operation: Operation[Any, Any]) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", operation.name)
    for kind in (operation.params, operation.result, *operation.events):
        assert kind.__doc__, kind
        assert not kind.__doc__.startswith(f"{kind.__name__}("), f"{kind} has only the docstring msgspec makes"
    assert operation.summary.endswith((".", ":"))
    noun = operation.name.partition(".")[0]
    scope_noun, _, level = operation.scope.partition(":")
    assert scope_noun == ("node" if noun == "rpc" else noun)
    assert level in {"create", "read", "write", "control", "admin"}
    assert re.fullmatch(r"\d+\.\d+", operation.since)
    assert all(issubclass(one, PtybridgeError) for one in operation.errors)
    assert len(set(operation.errors)) == len(operation.errors)
    if operation.effect is Effect.READS and operation.kind != "channel":
        assert level == "read"
    if "session_id" in operation.params.__struct_fields__ and noun == "session":
        assert errors.SessionNotFound in operation.errors
    if operation.http is not None:
        verb, _, path = operation.http.partition(" ")
        assert verb in {"GET", "POST", "PATCH", "DELETE", "PUT"}
        fields = set(operation.params.__struct_fields__)
        assert set(re.findall(r"{(\w+)}", path)) <= fields
        assert (verb == "GET") <= (operation.effect is Effect.READS or operation.kind == "channel")


def test_what_reads_writes_or_waits_takes_a_client_id() -> None:
    for name in ["write", "send_keys", "paste", "read", "read_until", "wait", "prompt", "follow", "attach"]:
        assert "client_id" in OPERATIONS[f"session.{name}"].params.__struct_fields__


def test_durations_and_times_are_in_milliseconds_and_say_so() -> None:
    for operation in OPERATIONS.values():
        for kind in (operation.params, operation.result, *operation.events):
            for field in kind.__struct_fields__:
                # `on_timeout` is what to do then, no time.
                wrong = re.search(r"(_seconds|_secs|_s|(?<!on_)timeout|_time|_at)$", field)
                assert not wrong, (operation.name, field)


def test_every_operation_has_exactly_one_handler() -> None:
    paths = Paths(socket="/nowhere/daemon.sock", state_dir="/nowhere", runtime_dir="/nowhere", tmux_dir="/nowhere")

    async def build() -> Daemon:  # noqa: ASYNC124 - it needs a running trio
        return Daemon(Config(paths=paths))

    endpoint = trio.run(build).server.endpoint
    assert {name: endpoint.kind(name) for name in OPERATIONS} == {one.name: one.kind for one in OPERATIONS.values()}


ONE = OPERATIONS["node.info"]


class _Right:
    @handles(ONE)
    def info(self, caller: object, params: ONE.params) -> ONE.result:  # type: ignore[name-defined]
        raise NotImplementedError


class _WrongParams:
    @handles(ONE)
    def info(self, caller: object, params: NoParams) -> ONE.result:  # type: ignore[name-defined]
        raise NotImplementedError


class _WrongResult:
    @handles(ONE)
    def info(self, caller: object, params: ONE.params) -> int:  # type: ignore[name-defined]
        raise NotImplementedError


@pytest.mark.parametrize(
    ("services", "problem"),
    [
        ([], "no handler for node.info"),
        ([_Right(), _Right()], "two handlers for node.info"),
        ([_WrongParams()], "must take params"),
        ([_WrongResult()], "must return"),
    ],
)
def test_a_dispatcher_refuses_to_be_built_with_holes_or_doubles(services: list[object], problem: str) -> None:
    Dispatcher(Registry([ONE]), [_Right()])
    with pytest.raises(ValueError, match=problem):
        Dispatcher(Registry([ONE]), services)


def test_names_and_routes_are_unique() -> None:
    with pytest.raises(ValueError, match="two operations claim"):
        Registry([ONE, ONE])


# -- errors --------------------------------------------------------------------------------------------------


def all_errors() -> list[type[PtybridgeError]]:
    return sorted(errors.BY_CODE.values(), key=lambda one: (-one.rpc_code, one.code))


def test_every_error_is_described_and_survives_the_wire() -> None:
    for kind in all_errors():
        assert kind.__doc__, kind
        again = PtybridgeError.restore("why", kind("why", hint="do", extra=1).describe())
        assert (type(again), again.message, again.hint, again.data) == (kind, "why", "do", {"extra": 1})


def _tables(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.startswith("|") and not re.match(r"\|[-| :]+\|$", line):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def test_the_protocols_table_of_errors_is_complete() -> None:
    rows = [row for row in _tables(PROTOCOL.read_text(encoding="utf-8")) if re.fullmatch(r"-\d+", row[0])]
    expected = [
        [str(kind.rpc_code), f"`{kind.code}`", "yes" if kind.retryable else "no", (kind.__doc__ or "").splitlines()[0]]
        for kind in all_errors()
    ]
    assert rows == expected, "the table should be\n" + "\n".join(f"| {' | '.join(row)} |" for row in expected)


def test_the_protocols_table_of_frames_is_complete() -> None:
    rows = {row[0]: row for row in _tables(PROTOCOL.read_text(encoding="utf-8")) if re.fullmatch(r"`0x\w\w`", row[0])}
    kinds = [one for one in vars(frames).values() if isinstance(one, type) and issubclass(one, frames.Frame)]
    known = {f"`{kind.type:#04x}`": kind for kind in kinds if kind is not frames.Frame}
    assert set(rows) == set(known)
    for code, row in rows.items():
        assert row[1] == known[code].__name__.upper()
        for field in known[code].__struct_fields__:
            assert f"`{field}`" in row[3], (row, field)


def test_the_protocols_examples_are_json_and_name_real_operations() -> None:
    text = PROTOCOL.read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```json\n(.*?)```", text, re.S) for line in block.splitlines() if line]
    assert lines
    for line in lines:
        message = json.loads(line.removeprefix("→ ").removeprefix("← "))
        for one in message if isinstance(message, list) else [message]:
            assert one["jsonrpc"] == "2.0"
            if one.get("method", "").startswith("stream.") or "method" not in one:
                continue
            operation = OPERATIONS[one["method"]]
            msgspec.convert(one.get("params", {}), operation.params)
    for name in re.findall(r"`((?:session|node|event|rpc)\.[a-z_]+)`", text):
        assert name in OPERATIONS


# -- the checklists ------------------------------------------------------------------------------------------


def _tests() -> set[str]:
    """All test ids of the tree: `tests/x.py::test_a`, `tests/x.py::Class::test_a`."""
    found = set()
    for path in [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "src/ptybridge/testing").glob("*.py")]:
        name = str(path.relative_to(ROOT))
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found |= {
                    f"{name}::{node.name}::{each.name}"
                    for each in node.body
                    if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
                }
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(f"{name}::{node.name}")
    return found


def test_every_test_the_checklists_name_exists() -> None:
    known = _tests()
    named = re.findall(r"`((?:tests|src)/[^`]+::[^`]+)`", CHECKLISTS.read_text(encoding="utf-8"))
    assert len(named) > 50
    assert [one for one in named if one not in known] == []


def test_every_covered_line_has_a_test_named_after_it() -> None:
    rows = {row[0]: row[-1] for row in _tables(CHECKLISTS.read_text(encoding="utf-8"))}
    for line in COVERED:
        assert re.search(rf"::test_{line.lower()}_", rows[line]), f"{line} has no test of its name"


def test_every_test_named_after_a_line_stands_in_the_checklists() -> None:
    text = CHECKLISTS.read_text(encoding="utf-8")
    for one in sorted(_tests()):
        name = one.rpartition("::")[2]
        if re.match(r"test_[rs]\d\d_", name):
            assert f"`{one}`" in text, f"add it to docs/checklists.md: {one}"
