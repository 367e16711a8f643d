"""What a request meets first: proxies that are believed and others, the base path, the access log."""

import logging
from typing import Any

import pytest
from tests.web.conftest import Connect
from tests.web.http import Http, eventually

from ptybridge import config
from ptybridge.daemon import Daemon
from ptybridge.errors import ConfigInvalid
from ptybridge.web.context import Asgi, Message, Receive, Scope, Send
from ptybridge.web.entrance import Entrance, networks
from ptybridge.web.gate import Gate

FORWARDED = [
    (b"host", b"inside:7373"),
    (b"x-forwarded-for", b"203.0.113.9, 198.51.100.7, 10.0.0.2"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"outside.example"),
    (b"x-user", b"ann"),
]


async def seen(settings: config.Web, client: tuple[str, int] | None, path: str = "/") -> Scope:
    """What is behind the entrance gets of a request."""
    found: list[Scope] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ASYNC124 - ASGI
        found.append(scope)

    async def nothing(*_: Any) -> Message:  # noqa: ASYNC124 - ASGI
        return {}

    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "scheme": "http",
        "client": client,
        "headers": list(FORWARDED),
        "state": {},
    }
    app: Asgi = inner
    await Entrance(settings, app)(scope, nothing, nothing)  # type: ignore[arg-type]
    return found[0] if found else {}


@pytest.mark.parametrize("client", [("192.0.2.1", 5), ("not an address", 5), None])
async def test_a_strangers_word_for_others_counts_nothing(client: tuple[str, int] | None) -> None:
    settings = config.Web(trusted_proxies=("10.0.0.0/8",), proxy_auth_header="X-User")
    scope = await seen(settings, client)
    assert scope["headers"] == [(b"host", b"inside:7373")]
    assert (scope["client"], scope["scheme"]) == (client, "http")


async def test_a_trusted_proxy_is_believed_up_to_the_first_stranger() -> None:
    settings = config.Web(trusted_proxies=("10.0.0.0/8", "198.51.100.7"), proxy_auth_header="X-User")
    scope = await seen(settings, ("10.1.1.1", 5))
    assert scope["client"] == ("203.0.113.9", 0)
    assert scope["scheme"] == "https"
    assert sorted(scope["headers"]) == [(b"host", b"outside.example"), (b"x-user", b"ann")]


async def test_the_unix_socket_is_trusted_by_name() -> None:
    scope = await seen(config.Web(trusted_proxies=("unix", "10.0.0.0/8")), None)
    assert scope["client"] == ("198.51.100.7", 0)


async def test_without_such_a_header_configured_it_is_as_any_other() -> None:
    scope = await seen(config.Web(), ("127.0.0.1", 5))
    assert (b"x-user", b"ann") in scope["headers"]


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="trusted_proxies"):
        networks(("10.0.0.1/8",))


@pytest.mark.parametrize(
    ("path", "inside"),
    [("/pty", "/"), ("/pty/", "/"), ("/pty/v1/node", "/v1/node"), ("/ptyx", None), ("/", None), ("/v1/pty", None)],
)
async def test_the_base_path_is_taken_away(path: str, inside: str | None) -> None:
    scope = await seen(config.Web(base_path="/pty"), ("127.0.0.1", 5), path)
    assert scope.get("path") == inside


class TestServedBelowAPath:
    @pytest.fixture
    def web_settings(self) -> config.Web:
        return config.Web(enabled=True, port=0, base_path="/pty")

    async def test_nothing_is_elsewhere(self, http: Http) -> None:
        assert (await http.get("/pty/health")).status == 200
        assert (await http.get("/health")).status == 404


@pytest.mark.parametrize("gate", [Gate])
async def test_the_access_log_has_no_queries(
    connect: Connect, daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "ptybridge.access"]

    with caplog.at_level(logging.INFO, "ptybridge.access"):
        http = await connect()
        await http.get("/health?key=hush")
        await http.get("/%1b%0a?key=hush")
        await eventually(lambda: len(lines()) == 2)
    assert lines()[0].split()[:5] == ["127.0.0.1", "-", "GET", "/health", "200"]
    assert "/%1b%0a 40" in lines()[1]
    assert not any("hush" in line for line in lines())
