"""The gate: hosts, origins, what browsers prove by themselves, keys, limits, headers, and revocation."""
# ruff: noqa: ASYNC240 - what lies in a few directories is looked through

import contextlib
from pathlib import Path

import pytest
import trio
from tests.contract.local_endpoint import LocalClient
from tests.web.conftest import Connect
from tests.web.http import PATIENCE_SECONDS, Answer, Http
from tests.web.proofs import JSON, UPGRADE, bearer, code_of, logged_in, new_key, origin_of, paths

from ptybridge import config
from ptybridge.api import key, lease, session, terminal, web
from ptybridge.api.operation import Effect
from ptybridge.api.registry import contract
from ptybridge.daemon import Daemon
from ptybridge.web import gate as gate_module

# -- who gets nowhere ---------------------------------------------------------------------------------------


async def test_s01_nothing_but_shells_and_health_is_answered_without_a_login(daemon: Daemon, connect: Connect) -> None:
    for method, path in [*paths(), *(("POST", f"/v1/call/{one.name}") for one in contract()), ("GET", "/openapi.json")]:
        answer = await (await connect()).request(method, path, [JSON])
        assert answer.status == 401, (method, path)
    for path in ("/v1/logout", "/v1/tickets", "/nothing", "/mcp", "/metrics"):
        assert (await (await connect()).post(path)).status == 401, path
    assert (await (await connect()).get("/health")).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://localhost:1", None])
async def test_s01_an_upgrade_from_elsewhere_is_refused_on_every_path(
    daemon: Daemon, connect: Connect, origin: str | None
) -> None:
    """Before it is accepted, with a cookie that is good, and whether or not a WebSocket is there."""
    cookie = await logged_in(daemon, await connect())
    others = [path for method, path in paths() if method == "GET"]
    for path in (*others, "/", "/s/x", "/v1/sessions/x/attach?mode=text", "/mcp", "/nothing"):
        http = await connect()
        headers = [*UPGRADE, cookie, *([] if origin is None else [("origin", origin)])]
        answer = await http.request("GET", path, headers)
        assert answer.status == 403, path


async def test_s01_programs_upgrade_with_a_key_and_without_a_cookie(daemon: Daemon, connect: Connect) -> None:
    value = await new_key(daemon)
    path = "/nothing"
    assert (await (await connect()).request("GET", path, UPGRADE)).status == 401
    cookie = ("cookie", "some=thing")
    assert (await (await connect()).request("GET", path, [*UPGRADE, bearer(value), cookie])).status == 403
    # Let in, and then nothing is there.
    assert (await (await connect()).request("GET", path, [*UPGRADE, bearer(value)])).status not in {401, 403}


@pytest.mark.parametrize(
    "made",
    ["http://localhost:{other}", "http://127.0.0.1:{other}", "https://{host}", "http://localhost:{port}", "http://127.0.0.1",
     "http://{host}.evil.example", "http://evil.example/?http://{host}", "http://{host}/", "HTTP://{host}", "http://x@{host}",
     "http://{host}, http://{host}", "null", ""],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD"])
async def test_s02_s04_origins_are_compared_whole(daemon: Daemon, connect: Connect, made: str, method: str) -> None:
    http = await connect()
    cookie = await logged_in(daemon, http)
    port = int(http.host.rpartition(":")[2])
    origin = made.format(host=http.host, port=port, other=port + 1)
    headers = [cookie, ("origin", origin), JSON]
    if method == "HEAD":
        method = "DELETE"
    answer = await http.request(method, "/v1/sessions", headers)
    assert answer.status == 403
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_s02_pages_of_other_ports_cannot_fetch_or_frame_but_link(daemon: Daemon, connect: Connect) -> None:
    cookie = await logged_in(daemon, await connect())
    for site in ("same-site", "cross-site"):
        for mode, dest, status in (
            ("no-cors", "script", 403), ("cors", "empty", 403),
            ("navigate", "iframe", 403), ("navigate", "document", 200),
        ):  # fmt: skip
            told = [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest), cookie]
            assert (await (await connect()).get("/v1/sessions", told)).status == status, (site, mode, dest)


async def raw(daemon: Daemon, text: str) -> bytes:
    """Send a request as it is; return the first line of the answer."""
    host, _, port = daemon.web.addresses[0].rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(text.replace("\n", "\r\n").encode("latin-1"))
        with trio.fail_after(PATIENCE_SECONDS):
            return bytes(await stream.receive_some(65536)).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example:{port}", "localhost.evil.example:{port}", "localhost.:{port}",
     "localhost", "127.0.0.1", "127.0.0.1:{other}", "x@127.0.0.1:{port}", "[::1]", "[::ffff:127.0.0.1]:{port}",
     "127.0.0.1.:{port}", "::1:{port}",
     "0.0.0.0:{port}", "127.1:{port}", "2130706433:{port}", "127.0.0.1:{port}:{port}",
     "127.0.0.1:0{port}", "", "*",
     "127.0.0.1:{port}, evil.example", "127.0.0.1:{port}/x"],
)  # fmt: skip
@pytest.mark.parametrize("upgrade", [False, True])
async def test_s03_foreign_hosts_are_refused(daemon: Daemon, host: str, upgrade: bool) -> None:
    port = int(daemon.web.addresses[0].rpartition(":")[2])
    value = await new_key(daemon)
    more = "".join(f"{name}: {value}\n" for name, value in [*(UPGRADE if upgrade else []), bearer(value)])
    for path in ("/v1/sessions", "/health", "/v1/events", "/mcp"):
        line = await raw(daemon, f"GET {path} HTTP/1.1\nhost: {host.format(port=port, other=port + 1)}\n{more}\n")
        assert line.split()[1] in {b"421", b"400"}, path


async def test_s03_requests_in_the_form_for_proxies_and_with_two_hosts_are_refused(daemon: Daemon) -> None:
    own = daemon.web.addresses[0]
    auth = f"authorization: Bearer {await new_key(daemon)}\n"
    for request in (
        f"GET http://evil.example/v1/sessions HTTP/1.1\nhost: {own}\n{auth}\n",
        f"GET http://{own}/v1/sessions HTTP/1.1\nhost: {own}\n{auth}\n",
        f"GET /v1/sessions HTTP/1.1\nhost: {own}\nhost: evil.example\n{auth}\n",
        f"GET /v1/sessions HTTP/1.1\nhost: {own}\nhost: {own}\n{auth}\n",
        f"GET /v1/sessions HTTP/1.0\n{auth}\n",
    ):
        assert (await raw(daemon, request)).split()[1] in {b"421", b"400"}, request
    assert (await raw(daemon, f"GET /v1/sessions HTTP/1.1\nhost: {own}\n{auth}\n")).split()[1] == b"200"


@pytest.mark.parametrize(
    "name", ["x-forwarded-for", "x-real-ip", "forwarded", "x-forwarded-host", "x-remote-user", "remote-user"]
)
async def test_s05_addresses_and_proxies_headers_let_nobody_in(http: Http, name: str) -> None:
    """Every test here comes from 127.0.0.1."""
    assert (await http.get("/v1/sessions", [(name, "127.0.0.1")])).status == 401


# -- what changes something ---------------------------------------------------------------------------------


def test_s06_no_get_changes_anything() -> None:
    for operation in contract():
        if operation.http and operation.http.startswith("GET ") and operation.kind != "channel":
            assert operation.effect is Effect.READS, operation.name


async def test_s06_a_cookie_changes_something_for_our_own_pages_only(daemon: Daemon, connect: Connect) -> None:
    http = await connect()
    cookie, own = await logged_in(daemon, http), ("origin", origin_of(http))
    form = ("content-type", "application/x-www-form-urlencoded")
    for method, path in paths():
        if method == "GET":
            continue
        for headers in (
            [cookie, JSON],
            [cookie, own],
            [cookie, own, form],
            [cookie, own, ("content-type", "text/plain")],
        ):
            answer = await (await connect()).request(method, path, headers)
            assert answer.status == 403, (method, path, headers)
    for proof in (JSON, ("x-ptybridge", "1")):
        answer = await (await connect()).request("DELETE", "/v1/sessions/x", [cookie, own, proof])
        assert answer.status == 404


async def test_s06_preflights_of_others_are_refused_and_nothing_is_shared(connect: Connect) -> None:
    for path in ("/v1/sessions", "/v1/login", "/health"):
        asked = [("origin", "http://evil.example"), ("access-control-request-method", "POST")]
        answer = await (await connect()).request("OPTIONS", path, asked)
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("access-control-")]


# -- logging in ---------------------------------------------------------------------------------------------


async def test_s08_a_code_is_good_once_and_its_cookie_is_for_browsers_alone(daemon: Daemon, http: Http) -> None:
    code = await code_of(daemon)
    answer = await http.post("/v1/login", {"code": code})
    cookie = answer.headers["set-cookie"]
    port = http.host.rpartition(":")[2]
    assert cookie.startswith(f"ptybridge-{port}=ptl_")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert "omain" not in cookie
    assert (await http.post("/v1/login", {"code": code})).status == 401
    # It is no key, and a key is no cookie.
    value = cookie.partition(";")[0].partition("=")[2]
    assert (await http.get("/v1/sessions", [bearer(value)])).status == 401
    other = await new_key(daemon)
    assert (await http.get("/v1/sessions", [("cookie", f"ptybridge-{port}={other}")])).status == 401


async def test_s08_nothing_that_proves_who_somebody_is_is_written_anywhere(
    daemon: Daemon, http: Http, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    value, code = await new_key(daemon), await code_of(daemon)
    login = await http.post("/v1/login", {"code": code})
    cookie = login.headers["set-cookie"].partition(";")[0].partition("=")[2]
    ticket = (await http.post("/v1/tickets", {}, [bearer(value)])).json()["ticket"]
    answers = [await http.get("/v1/keys?level=" + "x", [bearer(value)])]
    answers += [
        await http.get("/v1/sessions?x=" + value, [bearer(value)]),
        await http.post("/v1/login", {"code": value[:-1]}),
    ]
    answers.append(await http.post("/v1/call/nothing", {"data": 1}, [bearer(value)]))
    own = await LocalClient(daemon).call(session.CREATE, command=["env"])
    with trio.fail_after(PATIENCE_SECONDS):
        await LocalClient(daemon).call(terminal.WAIT, session_id=own.session_id, until=[{"exit": True}])
    environment = (await LocalClient(daemon).call(terminal.READ, session_id=own.session_id)).data
    secrets = [value, code, cookie, ticket]
    files = [
        path for path in [*tmp_path.rglob("*"), *Path(daemon.config.paths.runtime_dir).rglob("*")] if path.is_file()
    ]
    assert [path for path in files if path.name == "keys.json"]
    written = processes = b""
    for path in files:
        with contextlib.suppress(FileNotFoundError):  # a file on its way to its name
            written += path.read_bytes() + b"\n"
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            processes += path.read_bytes()
        except OSError:
            continue  # it has ended
    answered = b"".join(answer.body for answer in answers)
    for secret in secrets:
        for where in (written, processes, answered, caplog.text.encode(), environment.encode()):
            assert secret.encode() not in where
            assert secret[4:].encode() not in where


async def test_a_key_logs_a_browser_in_with_its_own_level(daemon: Daemon, http: Http) -> None:
    value = await new_key(daemon, level="read")
    answer = await http.post("/v1/login", {"key": value})
    assert answer.json()["level"] == "read"
    cookie = ("cookie", answer.headers["set-cookie"].partition(";")[0])
    assert (await http.get("/v1/sessions", [cookie])).status == 200
    denied = await http.post("/v1/sessions", {"command": ["cat"]}, [cookie, ("origin", origin_of(http))])
    assert (denied.status, denied.json()["error"]["code"]) == (403, "denied")


async def test_a_link_can_be_for_reading_only_and_lead_to_a_session(daemon: Daemon, http: Http) -> None:
    opened = await LocalClient(daemon).call(web.OPEN, level="read", session_id="abc")
    assert "/login?next=s%2Fabc#ptc_" in opened.url
    answer = await http.post("/v1/login", {"code": opened.url.partition("#")[2]})
    assert answer.json()["level"] == "read"


async def test_logging_out_ends_the_login_itself(daemon: Daemon, http: Http) -> None:
    cookie = await logged_in(daemon, http)
    answer = await http.post("/v1/logout", {}, [cookie, ("origin", origin_of(http))])
    assert (answer.status, "Max-Age=0" in answer.headers["set-cookie"]) == (200, True)
    assert (await http.get("/v1/sessions", [cookie])).status == 401
    assert (await LocalClient(daemon).call(key.LIST)).keys == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"code": 1}', b'{"user": "x"}', b'{"code": "' + b"x" * 5000 + b'"}']
)
async def test_odd_logins_are_refused(http: Http, body: bytes) -> None:
    answer = await http.request("POST", "/v1/login", [JSON], body)
    assert answer.status in {400, 401, 413}
    assert "set-cookie" not in answer.headers
    if body == b"[]":
        assert answer.json()["error"]["message"] == "the body must be an object, not a list"


# -- limits -------------------------------------------------------------------------------------------------


class TestRates:
    @pytest.fixture
    def web_settings(self) -> config.Web:
        """What may be done at once, and no more of it however long a busy machine takes for these tests."""
        return config.Web(enabled=True, port=0, creates_per_second=0.0001, failures_per_second=0.0001)

    async def test_s09_who_guesses_is_held_up_and_who_has_a_key_is_not(self, daemon: Daemon, http: Http) -> None:
        value = await new_key(daemon)
        answers: list[Answer] = [await http.post("/v1/login", {"code": f"guess {number}"}) for number in range(30)]
        assert [one.status for one in answers][:5] == [401] * 5
        assert answers[-1].status == 429
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert (await http.get("/v1/sessions", [bearer("ptb_wrong")])).status == 429
        # Whoever has what is good gets in all the same, from the same address.
        assert (await http.get("/v1/sessions", [bearer(value)])).status == 200
        await logged_in(daemon, http)

    async def test_s09_starting_programs_is_limited(self, daemon: Daemon, http: Http) -> None:
        value = await new_key(daemon)
        statuses = []
        for path in ("/v1/sessions", "/v1/exec", "/v1/call/session.create") * 40:
            # Nothing is started: there is no such parameter.
            answer = await http.post(path, {"nothing": 1}, [bearer(value)])
            statuses.append(answer.status)
        assert set(statuses) == {400, 429}
        # Another limit.
        assert (await http.post("/v1/sessions/x/input", {"data": "x"}, [bearer(value)])).status == 404


class TestConfiguredRates:
    @pytest.fixture
    def web_settings(self) -> config.Web:
        return config.Web(enabled=True, port=0, creates_at_once=2, creates_per_second=0.001, writes_at_once=3,
                          writes_per_second=0.001, failures_at_once=1, failures_per_second=0.001)  # fmt: skip

    async def test_s09_other_rates_can_be_set(self, daemon: Daemon, http: Http) -> None:
        value = await new_key(daemon)
        creates = [(await http.post("/v1/exec", {"nothing": 1}, [bearer(value)])).status for _ in range(3)]
        writes = [(await http.post("/v1/sessions/x/input", {"data": ""}, [bearer(value)])).status for _ in range(4)]
        failures = [(await http.get("/v1/node", [bearer("ptb_x")])).status for _ in range(2)]
        assert (creates, writes, failures) == ([400, 400, 429], [404, 404, 404, 429], [401, 429])


def test_s09_everything_that_starts_programs_counts_as_that() -> None:
    starts = [one for one in contract() if one.scope.endswith(":create")]
    assert {one.name for one in starts} == gate_module.CREATE_CALLS
    assert {(one.http or "").removeprefix("POST ") for one in starts} == gate_module.CREATES


# -- revocation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["key", "login"])
async def test_s09_revoking_ends_what_is_open(daemon: Daemon, connect: Connect, by: str) -> None:
    owner, http = LocalClient(daemon), await connect()
    proof = bearer(await new_key(daemon)) if by == "key" else await logged_in(daemon, http)
    (info,) = (await owner.call(key.LIST)).keys
    await http.send("GET", "/v1/events", [proof])
    assert (await http.head()).status == 200
    assert await http.chunk()
    await owner.call(key.REVOKE, key_id=info.key_id)
    ended = False
    with trio.fail_after(PATIENCE_SECONDS):
        while not ended:
            data = await http.stream.receive_some(65536)
            ended = not data
    assert (await (await connect()).get("/v1/sessions", [proof])).status == 401


async def test_a_wait_whose_key_is_revoked_is_answered(daemon: Daemon, connect: Connect) -> None:
    owner, http = LocalClient(daemon), await connect()
    proof = bearer(await new_key(daemon))
    made = await owner.call(session.CREATE, command=["cat"])
    await http.send("POST", f"/v1/sessions/{made.session_id}/wait", [proof, JSON], b'{"until": [{"exit": true}]}')
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            if (await owner.call(key.LIST)).keys[0].last_used_at_ms is not None:
                break
            await trio.sleep(0.01)
    await owner.call(key.REVOKE, key_id="ci")
    assert (await http.head()).status == 401


# -- what answers carry -------------------------------------------------------------------------------------


async def test_s10_every_answer_forbids_what_browsers_might_do_with_it(daemon: Daemon, connect: Connect) -> None:
    value = await new_key(daemon)
    for path, more in (("/health", []), ("/v1/sessions", [bearer(value)]), ("/v1/sessions", []), ("/nothing", []),
                       ("/v1/keys", [bearer(value)]), ("/health", [("origin", "http://evil.example")])):  # fmt: skip
        headers = (await (await connect()).get(path, more)).headers
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["permissions-policy"]


async def test_who_is_let_in_is_the_principal_of_what_was_shown(daemon: Daemon, http: Http) -> None:
    value = await new_key(daemon)
    made = (await http.post("/v1/sessions", {"command": ["cat"]}, [bearer(value)])).json()
    (info,) = (await LocalClient(daemon).call(key.LIST)).keys
    got = await LocalClient(daemon).call(session.GET, session_id=made["session_id"])
    assert got.created_by == info.principal
    taken = await http.post(f"/v1/sessions/{made['session_id']}/lease", {"client_id": "me"}, [bearer(value)])
    assert taken.status == 200
    assert (await LocalClient(daemon).call(lease.GET, session_id=made["session_id"])).client_id == "me"


# -- behind a proxy -----------------------------------------------------------------------------------------


class TestBehindAProxy:
    @pytest.fixture
    def web_settings(self) -> config.Web:
        return config.Web(
            enabled=True,
            port=0,
            allowed_hosts=("https://term.example.org",),
            trusted_proxies=("127.0.0.1",),
            proxy_auth_header="X-Remote-User",
        )

    async def test_its_word_is_taken_for_who_it_is_and_origins_count_all_the_same(self, connect: Connect) -> None:
        http = await connect()
        http.host = "term.example.org"
        user, own = ("x-remote-user", "ann"), ("origin", "https://term.example.org")
        assert (await http.get("/v1/sessions", [user])).status == 200
        made = await http.post("/v1/sessions", {"command": ["cat"]}, [user, own])
        assert (made.status, made.json()["created_by"]) == (200, "proxy:ann")
        assert (await http.post("/v1/sessions", {"command": ["cat"]}, [user])).status == 403
        assert (await http.post("/v1/node/shutdown", {}, [user, own])).status == 403
        assert (await http.get("/v1/sessions", [user, ("origin", "http://term.example.org")])).status == 403
        assert (await http.get("/v1/sessions", [user, user])).status == 401
        assert (await http.get("/v1/sessions")).status == 401

    async def test_a_cookie_for_https_goes_over_nothing_else(self, daemon: Daemon, connect: Connect) -> None:
        http = await connect()
        http.host = "term.example.org"
        answer = await http.post("/v1/login", {"code": await code_of(daemon)})
        name, _, flags = answer.headers["set-cookie"].partition("=")
        assert name.startswith("__Host-ptybridge-")
        assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(flags.split("; "))
