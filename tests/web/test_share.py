"""Visitors of the shared session over HTTP, from their link to what they may not do."""

import pytest
from tests.web.conftest import Connect
from tests.web.http import Http, eventually

from ptybridge import config
from ptybridge.daemon import Daemon

OURS = [("x-ptybridge", "1")]


@pytest.fixture
def serving(daemon: Daemon) -> config.Serve:
    daemon.share.settings = config.Serve(command="cat", public=True)
    return daemon.share.settings


async def invited(daemon: Daemon, http: Http) -> Http:
    """Log in as the page does with what is behind the link's #."""
    url = await daemon.share.invite()
    assert "/login?next=public#ptb_" in url
    answer = await http.post("/v1/login", {"code": url.partition("#")[2]})
    assert answer.status == 200
    assert answer.json()["level"] == "write"
    cookie = answer.headers["set-cookie"].partition(";")[0]
    http.headers = [("cookie", cookie), ("origin", f"http://{http.host}"), *OURS]
    return http


async def test_a_visitor_joins_what_is_shared_and_sees_nothing_else(
    daemon: Daemon, serving: config.Serve, connect: Connect
) -> None:
    stranger = await connect()
    assert (await stranger.post("/v1/share/join", headers=OURS)).status == 401
    http = await invited(daemon, await connect())
    assert "Joining" in (await http.get("/")).body.decode()
    joined = (await http.post("/v1/share/join")).json()
    assert joined["started"]
    found = (await http.get("/v1/sessions")).json()["sessions"]
    assert [one["session_id"] for one in found] == [joined["session_id"]]
    where = f"/v1/sessions/{joined['session_id']}"
    assert (await http.post(f"{where}/input", {"data": "hello\n"})).json() == {"accepted_bytes": 6, "queue_position": 0}
    assert (await http.post(f"{where}/signal", {"signal": "KILL"})).status == 403
    assert (await http.request("DELETE", where)).status == 403
    assert (await http.request("PATCH", where, json={"tags": ["x"]})).status == 403
    for path in ("/v1/share", "/v1/node", "/v1/keys", "/v1/files?path=/etc"):
        assert (await http.get(path)).status in {403, 404}, path
    assert (await http.post("/v1/sessions", {"command": "id"})).status == 403
    assert (await http.post("/v1/share/links", {})).status == 403


async def test_an_invitation_outlives_the_session_and_ends_when_it_is_revoked(
    daemon: Daemon, serving: config.Serve, connect: Connect
) -> None:
    http = await invited(daemon, await connect())
    first = (await http.post("/v1/share/join")).json()["session_id"]
    await daemon.sessions.close(daemon.sessions.get(first), 0.1)
    second = (await http.post("/v1/share/join")).json()["session_id"]
    assert second != first
    assert (await http.get(f"/v1/sessions/{second}")).status == 200
    await daemon.keyring.revoke("visitor")
    assert (await http.get(f"/v1/sessions/{second}")).status == 401


async def test_read_only_visitors_write_nothing(daemon: Daemon, serving: config.Serve, connect: Connect) -> None:
    daemon.share.settings = config.Serve(command="cat", public=True, read_only=True)
    url = await daemon.share.invite()
    http = await connect()
    http.headers = [("authorization", f"Bearer {url.partition('#')[2]}")]
    joined = (await http.post("/v1/share/join")).json()
    assert (await http.post(f"/v1/sessions/{joined['session_id']}/input", {"data": "x"})).status == 403
    found = daemon.sessions.get(joined["session_id"])
    assert found.labels.access == "read-only"


async def test_a_follower_keeps_it_and_a_place_is_free_when_it_has_gone(
    daemon: Daemon, serving: config.Serve, connect: Connect
) -> None:
    daemon.share.settings = config.Serve(command="cat", public=True, max_clients=1)
    http = await invited(daemon, await connect())
    joined = (await http.post("/v1/share/join")).json()
    found = daemon.sessions.get(joined["session_id"])
    watching = await connect()
    watching.headers = http.headers
    await watching.send("GET", f"/v1/sessions/{found.session_id}/events")
    assert (await watching.head()).status == 200
    assert (await http.post("/v1/share/join")).json()["error"]["code"] == "limit_reached"
    await watching.stream.aclose()
    await eventually(lambda: found.clients == 0)
    assert (await http.post("/v1/share/join")).status == 200


async def test_the_way_in_is_never_in_what_the_server_is_asked_for(daemon: Daemon, serving: config.Serve) -> None:
    before, _, fragment = (await daemon.share.invite()).partition("#")
    assert fragment.startswith("ptb_")
    assert fragment not in before
