"""`node.whoami` over every endpoint; and that what it says is what happens."""

from pathlib import Path
from typing import Any, get_args

import pytest
from tests.contract.endpoints import OPERATIONS, Client
from tests.contract.local_endpoint import LocalClient

from ptybridge import config
from ptybridge.api import key, node, session
from ptybridge.daemon import Daemon
from ptybridge.errors import Denied, PtybridgeError
from ptybridge.model import Access, Caller, Level
from ptybridge.service import authority

# What else an operation on a session needs to get as far as the question whether it may be done; none does anything.
ENOUGH: dict[str, dict[str, Any]] = {
    "session.write": {"data": ""},
    "session.send_keys": {"keys": ["a"]},
    "session.paste": {"text": "a"},
    "session.prompt": {"data": "a", "timeout_ms": 0},
    "session.resize": {"cols": 90},
    "session.signal": {"signal": "SIGCONT"},
    "session.kick": {"attachment_id": "nobody"},
    "session.update": {"tags": ["a"]},
    "session.close": {},
    "command.run": {"command": "true", "timeout_ms": 0},
    "secret.request": {"prompt": "?", "timeout_ms": 0},
    "app.request": {"path": "/", "timeout_ms": 1},
}


@pytest.fixture
def files(tmp_path: Path) -> config.Files:
    return config.Files(roots=(str(tmp_path),))


def holder(daemon: Daemon, level: Level, principal: str = "key:k1", **limits: Any) -> LocalClient:
    client = LocalClient(daemon)
    scopes = key.SCOPES[level]
    client.caller = Caller(principal=principal, connection_id="w1", scopes=scopes, grant_id="k1", **limits)
    return client


async def test_the_user_at_the_socket_may_do_everything_everywhere(client: Client) -> None:
    found = await client.call(node.WHOAMI)
    made = await client.call(session.CREATE, command=["cat"])
    assert found.principal == made.created_by
    assert (found.profile, found.session_ids) == (None, None)
    assert found.operations == sorted(OPERATIONS)


async def test_the_owner_is_not_kept_to_roots_and_others_are(daemon: Daemon, tmp_path: Path) -> None:
    assert (await LocalClient(daemon).call(node.WHOAMI)).file_roots is None
    assert (await holder(daemon, "full").call(node.WHOAMI)).file_roots == [str(tmp_path)]


@pytest.mark.parametrize("level", ["read", "write", "full"])
async def test_a_level_is_told_by_what_may_be_called(daemon: Daemon, level: Level) -> None:
    found = await holder(daemon, level).call(node.WHOAMI)
    assert set(found.operations) == {one.name for one in OPERATIONS.values() if one.scope in key.SCOPES[level]}


async def test_a_key_for_a_session_is_told_of_nothing_beside_it(daemon: Daemon) -> None:
    found = await holder(daemon, "full", session_ids=("s0",)).call(node.WHOAMI)
    assert found.session_ids == ["s0"]
    assert {"session.write", "session.list"} <= set(found.operations)
    assert {"session.create", "file.list", "exec.run"}.isdisjoint(found.operations)


@pytest.mark.parametrize("access", get_args(Access))
async def test_what_an_access_level_refuses_is_what_is_told(daemon: Daemon, access: Access) -> None:
    assert set(ENOUGH) == set(authority.NEEDED)
    creator, other = holder(daemon, "full"), holder(daemon, "full", "key:k2")
    told = await other.call(node.WHOAMI)
    refused: dict[str, set[str]] = {"creator": set(), "other": set()}
    for name, params in ENOUGH.items():
        for who, client in (("creator", creator), ("other", other)):
            made = await creator.call(session.CREATE, command=["cat"], access=access, shell_integration="off")
            try:
                await client.call_raw(name, {"session_id": made.session_id, **params})
            except Denied:
                refused[who].add(name)
            except PtybridgeError:
                pass  # it was not for want of rights
    assert refused["other"] == set(told.refused_by_access[access])
    assert refused["creator"] == set(told.refused_by_access[access]) - set(told.as_creator)
