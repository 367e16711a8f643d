"""Ways to prove who one is to the web front, and all of its paths."""

import re
from typing import Any

from tests.contract.local_endpoint import LocalClient
from tests.web.http import Headers, Http

from ptybridge.api import key, web
from ptybridge.api.registry import contract
from ptybridge.daemon import Daemon
from ptybridge.model import Level

JSON = ("content-type", "application/json")
UPGRADE: Headers = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


def origin_of(http: Http) -> str:
    return f"http://{http.host}"


def bearer(value: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {value}")


async def new_key(daemon: Daemon, name: str = "ci", level: Level = "full") -> str:
    """Make a key; return its value."""
    return (await LocalClient(daemon).call(key.CREATE, name=name, level=level)).value


async def code_of(daemon: Daemon, **params: Any) -> str:
    """Return the code of an address that logs in."""
    url = (await LocalClient(daemon).call(web.OPEN, **params)).url
    # In the fragment, which browsers send to nobody.
    address, _, code = url.partition("#")
    assert code
    assert "ptc_" not in address
    return str(code)


async def logged_in(daemon: Daemon, http: Http, **params: Any) -> tuple[str, str]:
    """Log in; return the header with the cookie."""
    answer = await http.post("/v1/login", {"code": await code_of(daemon, **params)})
    assert answer.status == 200, answer.body
    return ("cookie", answer.headers["set-cookie"].partition(";")[0])


def paths() -> list[tuple[str, str]]:
    """Every route of the API."""
    found = [tuple(one.http.split(" ")) for one in contract() if one.http]
    return [(method, re.sub(r"\{\w+\}", "x", path)) for method, path in found]
