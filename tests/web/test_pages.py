"""The browser pages as they are served: caching, compression, policy, and what is not served."""

import gzip
import json
import re
from pathlib import Path

import pytest
from quart_trio import QuartTrio

from ptybridge.errors import PtybridgeError
from ptybridge.web.app import refusal
from ptybridge.web.pages import PAGES, STATIC, add_pages

SHELLS = ("/", "/login", "/public", "/s/k7vnq2xd", "/s/k7vnq2xd?view=line", "/s/k7vnq2xd/app/a/b")


def application(static: Path = STATIC) -> QuartTrio:
    app = QuartTrio("test", static_folder=None)
    app.register_error_handler(PtybridgeError, lambda error: refusal(error))
    add_pages(app, static)
    return app


@pytest.mark.parametrize("path", SHELLS)
async def test_pages_are_shells_under_a_strict_policy(path: str) -> None:
    response = await application().test_client().get(path)
    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["script-src"] in ("'self'", "'self' 'wasm-unsafe-eval'")
    assert "unsafe-inline" not in str(policy)


@pytest.mark.parametrize("path", SHELLS)
async def test_everything_a_page_names_is_there_for_ever(path: str) -> None:
    client = application().test_client()
    html = await (await client.get(path)).get_data(as_text=True)
    names = re.findall(r'static/([\w.-]+)"', html)
    assert {Path(name).suffix for name in names} >= {".js", ".css", ".svg"}
    for name in names:
        response = await client.get(f"/static/{name}")
        assert response.status_code == 200
        assert ("immutable" in response.headers["Cache-Control"]) == (name not in ("icon.svg", "licenses.txt"))


async def test_a_page_that_is_the_same_is_not_sent_again() -> None:
    client = application().test_client()
    first = await client.get("/")
    again = await client.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, await again.get_data()) == (304, b"")
    assert "Content-Security-Policy" in again.headers


async def test_scripts_come_compressed_to_who_takes_it() -> None:
    client = application().test_client()
    name = json.loads((STATIC / "manifest.json").read_text())["files"]["terminal.js"]
    plain = await client.get(f"/static/{name}", headers={"Accept-Encoding": "identity"})
    packed = await client.get(f"/static/{name}", headers={"Accept-Encoding": "gzip"})
    brotli = await client.get(f"/static/{name}", headers={"Accept-Encoding": "gzip, br"})
    assert "Content-Encoding" not in plain.headers
    assert [packed.headers["Content-Encoding"], brotli.headers["Content-Encoding"]] == ["gzip", "br"]
    assert gzip.decompress(await packed.get_data(as_text=False)) == await plain.get_data(as_text=False)
    assert len({response.headers["ETag"] for response in (plain, packed, brotli)}) == 3
    assert plain.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "name", ["manifest.json", "login.html", "..%2fpages.py", "%2e%2e%2fserver.py", "nothing.js", "x/../login.html"]
)
async def test_nothing_else_is_served(name: str) -> None:
    response = await application().test_client().get(f"/static/{name}")
    assert response.status_code == 404


async def test_without_built_pages_it_says_what_to_do(tmp_path: Path) -> None:
    for rule in PAGES:
        response = await application(tmp_path).test_client().get(rule.replace("<session_id>", "a"))
        assert response.status_code == 503
        assert "make pages" in (await response.get_json())["error"]["hint"]
