"""The web front as a whole: opening it, its addresses, stopping, and what it says to strangers."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from tests.contract.local_endpoint import LocalClient
from tests.web.conftest import Connect
from tests.web.http import Http, is_refused

from ptybridge import config
from ptybridge.api import web as api
from ptybridge.daemon import Daemon
from ptybridge.errors import Denied


async def test_health_needs_no_login_and_says_little(http: Http) -> None:
    answer = await http.get("/health")
    assert (answer.status, answer.json()) == (200, {"status": "ok", "idle": True})


async def test_everything_else_is_refused_as_json(http: Http) -> None:
    for path in ("/v1/sessions", "/nowhere"):
        answer = await http.get(path)
        assert answer.status == 401
        assert answer.json()["error"]["code"] == "unauthenticated"


class TestOffByDefault:
    @pytest.fixture
    def web_settings(self) -> config.Web:
        return config.Web(port=0)

    async def test_it_is_off_until_it_is_opened(self, daemon: Daemon, connect: Connect) -> None:
        client = LocalClient(daemon)
        assert not (await client.call(api.STATUS)).open
        opened = await client.call(api.OPEN)
        assert opened.url.startswith(f"http://{opened.addresses[0]}/")
        assert (await (await connect()).get("/health")).status == 200
        status = await client.call(api.STATUS)
        assert (status.open, status.connections) == (True, 1)

    async def test_two_that_open_it_at_once_open_it_once(self, daemon: Daemon) -> None:
        found: list[list[str]] = []

        async def open_it() -> None:
            found.append((await LocalClient(daemon).call(api.OPEN)).addresses)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_it)
            nursery.start_soon(open_it)
        assert found[0] == found[1]

    async def test_agents_cannot_open_it(self, daemon: Daemon) -> None:
        client = LocalClient(daemon)
        client.caller = type(client.caller)(
            principal=client.caller.principal, connection_id=client.caller.connection_id, profile="mcp"
        )
        with pytest.raises(Denied):
            await client.call(api.OPEN)
        assert daemon.web.addresses == ()


class TestUnixSocket:
    @pytest.fixture
    def web_settings(self, runtime_dir: Path) -> config.Web:
        return config.Web(enabled=True, host="", unix_socket=str(runtime_dir / "w.sock"))

    async def test_only_this_user_may_use_it(self, http: Http, runtime_dir: Path) -> None:
        assert stat.S_IMODE((runtime_dir / "w.sock").stat().st_mode) == 0o600
        assert (await http.get("/health")).status == 200


class TestBothLoopbacks:
    @pytest.fixture
    def web_settings(self) -> config.Web:
        return config.Web(enabled=True, port=0, host="localhost")

    async def test_one_port_on_all_addresses_of_the_host(self, daemon: Daemon, connect: Connect) -> None:
        assert len({address.rpartition(":")[2] for address in daemon.web.addresses}) == 1
        for address in daemon.web.addresses:
            assert (await (await connect(address)).get("/health")).status == 200


async def test_the_port_is_kept_for_a_daemon_that_comes_after_a_crash(  # noqa: ASYNC124 - its fixtures are
    daemon: Daemon, runtime_dir: Path
) -> None:
    note = runtime_dir / "p" / "web.json"
    port = int(daemon.web.addresses[0].rpartition(":")[2])
    assert json.loads(note.read_text()) == {"port": port, "host": "127.0.0.1", "wanted_port": 0, "given": []}
    assert stat.S_IMODE(note.stat().st_mode) == 0o600


async def test_after_it_is_closed_nobody_listens_and_nothing_is_remembered(
    daemon: Daemon, http: Http, runtime_dir: Path
) -> None:
    assert (await http.get("/health")).status == 200
    await daemon.web.close(for_good=True)
    assert await is_refused(daemon.web.addresses[0])
    assert not (runtime_dir / "p" / "web.json").exists()


def test_a_daemon_without_it_loads_none_of_its_libraries() -> None:
    program = "import sys, ptybridge.daemon; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) & {"quart", "quart_trio", "hypercorn", "h2", "jinja2"} == set()
