"""What the node says of itself: OpenAPI and its page, metrics, the idle state."""

import gzip
import json
import re
from typing import Any

import brotli
import jsonschema_rs
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.web.conftest import Connect, OpenGate
from tests.web.http import Http

from ptybridge.api.openapi import openapi
from ptybridge.api.registry import contract
from ptybridge.daemon import Daemon
from ptybridge.wire import attach as frames

# What is served and is no operation.
OWN = {
    "POST /v1/login", "POST /v1/logout", "POST /v1/tickets", "POST /v1/call/{name}", "GET /health", "GET /metrics",
    "GET /openapi.json", "GET /docs", "GET /docs/websocket", "GET /mcp", "POST /mcp", "DELETE /mcp",
}  # fmt: skip


@pytest.fixture
def gate() -> Any:
    return OpenGate


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()


def test_openapi_describes_every_route_and_refers_only_to_what_is_there() -> None:
    document: Any = json.loads(json.dumps(openapi(contract())))
    routes = {f"{method.upper()} {path}" for path, those in document["paths"].items() for method in those}
    assert routes == {one.http for one in contract() if one.http is not None} | OWN
    components = document["components"]
    found = {f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in components[kind]}
    assert references(document) <= found
    names = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))
    for path, methods in document["paths"].items():
        for one in methods.values():
            in_path = [field["name"] for field in one["parameters"] if field["in"] == "path"]
            assert sorted(in_path) == sorted(re.findall(r"{(\w+)}", path))


async def test_the_document_and_its_page_are_served(http: Http) -> None:
    served = (await http.get("/openapi.json")).json()
    assert served["openapi"] == "3.1.0"
    packed = await http.get("/openapi.json", [("accept-encoding", "gzip")])
    assert packed.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.body)) == served
    smaller = await http.get("/openapi.json", [("accept-encoding", "gzip, br")])
    assert smaller.headers["content-encoding"] == "br"
    assert smaller.headers["vary"] == "Accept-Encoding"
    assert json.loads(brotli.decompress(smaller.body)) == served
    again = await http.get("/openapi.json", [("if-none-match", packed.headers["etag"])])
    assert again.status == 304
    page = await http.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    text = page.body.decode()
    assert "<script" not in text
    assert not re.search(r"(src|href)=.?(https?:)?//", text)
    for path in served["paths"]:
        assert path in text


async def test_the_document_served_names_this_nodes_cookie_and_base_path(daemon: Daemon, connect: Connect) -> None:
    served = (await (await connect()).get("/openapi.json")).json()
    assert served["servers"] == [{"url": "/"}]
    # What the gate has found out is in the way of a test without one.
    assert served["components"]["securitySchemes"]["cookie"]["name"] == "ptybridge-7373"
    document: Any = openapi(contract(), cookie="__Host-ptybridge-1", base="/pty")
    assert document["components"]["securitySchemes"]["cookie"]["name"] == "__Host-ptybridge-1"
    assert document["servers"] == [{"url": "/pty"}]


async def test_the_page_of_the_websocket_has_all_its_frames(http: Http) -> None:
    page = (await http.get("/docs/websocket")).body.decode()
    names = {kind.__name__.upper() for kind in frames.Frame.__subclasses__()} - {"DATA", "FINISH", "STORED"}
    assert {name for name in names if f" {name} (" not in page} == set()
    assert "<script" not in page


async def test_events_of_a_stream_are_as_the_document_says(http: Http) -> None:
    document: Any = json.loads(json.dumps(openapi(contract())))
    answers = document["paths"]["/v1/exec/stream"]["post"]["responses"]["200"]
    kinds = {
        one["properties"]["event"]["const"]: one["properties"]["data"]["contentSchema"]
        for one in answers["content"]["text/event-stream"]["schema"]["oneOf"]
    }
    answer = await http.post("/v1/exec/stream", {"command": ["echo", "x"]})
    seen = set()
    for text in answer.body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in text.splitlines() if not line.startswith(":"))
        if fields:
            seen.add(fields["event"])
            schema = {**kinds[fields["event"]], "components": document["components"]}
            jsonschema_rs.validate(schema, json.loads(fields["data"]))
    assert {"opened", "output", "exited", "finished", "end"} <= seen


async def test_metrics_can_be_read_by_prometheus(http: Http) -> None:
    await http.get("/v1/sessions/nosuch")
    answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {one.name: one for one in text_string_to_metric_families(answer.body.decode())}
    calls = {sample.labels["operation"]: sample.value for sample in families["ptybridge_calls"].samples}
    assert calls["session.get"] == 1
    failures = [sample.labels for sample in families["ptybridge_failures"].samples]
    assert {"operation": "session.get", "code": "session_not_found"} in failures
    assert families["ptybridge_web_connections"].samples[0].value == 1


async def test_the_node_tells_whether_it_is_idle(http: Http) -> None:
    assert (await http.get("/v1/node")).json()["idle"]
    await http.post("/v1/sessions", {"command": ["cat"]})
    assert not (await http.get("/v1/node")).json()["idle"]
    assert (await http.get("/health")).json() == {"status": "ok", "idle": False}
