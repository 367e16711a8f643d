"""`session.recover` where the sessions are; `tests/survival` recovers those of daemons that are gone."""

import pytest
import trio
from tests.conftest import NeedTool
from tests.contract.endpoints import PATIENCE_SECONDS, Client

from ptybridge.api import recovery as api
from ptybridge.api import session
from ptybridge.errors import InvalidParams, SessionNotFound


async def test_a_session_that_is_here_is_already_live(client: Client, need_tool: NeedTool) -> None:
    need_tool("tmux")
    labels = {"name": "one", "owner": "me", "workspace": "w"}
    with trio.fail_after(PATIENCE_SECONDS):
        made = await client.call(session.CREATE, command=["cat"], backend="tmux", **labels)
        assert (made.backend, made.workspace) == ("tmux", "w")
        found = await client.call(api.RECOVER, name="one", owner="me")
        assert found.already_live
        assert found.session.session_id == made.session_id
        assert (found.recovered_at_ms, found.recovery_group_key, found.recovery_group_session_ids) == (None, None, None)
        await client.call(session.CLOSE, session_id=made.session_id)


async def test_only_sessions_in_tmux_are_found(client: Client) -> None:
    made = await client.call(session.CREATE, command=["cat"], name="one", owner="me")
    with pytest.raises(SessionNotFound):
        await client.call(api.RECOVER, name="one", owner="me")
    await client.call(session.CLOSE, session_id=made.session_id)


@pytest.mark.parametrize("params", [{}, {"name": "a"}, {"owner": "a"}, {"name": "", "owner": "b"}])
async def test_a_name_and_an_owner_are_needed(client: Client, params: dict[str, object]) -> None:
    with pytest.raises(InvalidParams):
        await client.call_raw("session.recover", params)
