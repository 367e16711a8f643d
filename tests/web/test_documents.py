"""What the node says of itself: OpenAPI and its page, metrics, the idle state."""

import gzip
import json
import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.web.conftest import OpenGate
from tests.web.http import Http

from ptybridge.api.openapi import openapi
from ptybridge.api.registry import contract


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
    assert routes == {one.http for one in contract() if one.http is not None}
    schemas = document["components"]["schemas"]
    assert references(document) <= {f"#/components/schemas/{name}" for name in schemas}
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
    page = await http.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    text = page.body.decode()
    assert "<script" not in text
    assert not re.search(r"(src|href)=.?(https?:)?//", text)
    for path in served["paths"]:
        assert path in text


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
