"""pty-mcp's tool that finds sessions in tmux again whose daemon is gone: pty_recover."""

from typing import Annotated, Any, Final

import msgspec

from ptybridge.api import recovery as api
from ptybridge.api import session
from ptybridge.mcp.compat_common import Arguments, Name, as_json
from ptybridge.mcp.compat_facts import Status, status
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool


class Recover(Arguments, kw_only=True):
    """Parameters of pty_recover."""

    name: Annotated[Name, msgspec.Meta(description="the name it was spawned with")]
    owner: Annotated[Name, msgspec.Meta(description="the owner it was spawned with")]


class Recovered(Status, kw_only=True):
    """The status of a session; the last three are there only when it was really recovered."""

    recovered_via: str = "recover"
    already_live: bool
    recovery_group_key: str | msgspec.UnsetType = msgspec.UNSET
    recovery_group_session_ids: list[str] | msgspec.UnsetType = msgspec.UNSET
    recovery_group_session_count: int | msgspec.UnsetType = msgspec.UNSET


async def recover(ctx: Context, params: Recover) -> Answer:
    """Take up a session and its workspace."""
    done = await ctx.call(api.RECOVER, name=params.name, owner=params.owner)
    group: dict[str, Any] = {}
    if done.recovery_group_session_ids is not None:
        group = {
            "recovery_group_key": done.recovery_group_key,
            "recovery_group_session_ids": done.recovery_group_session_ids,
            "recovery_group_session_count": len(done.recovery_group_session_ids),
        }
    now = await ctx.call(session.GET, session_id=done.session.session_id)
    facts = msgspec.structs.asdict(status(ctx, now))
    return as_json(Recovered(**facts, already_live=done.already_live, **group))


TOOLS: Final = (
    Tool(
        "pty_recover",
        "Find a session in tmux (pty_spawn with backend tmux, a name and an owner) again when the program that kept it "
        "was stopped or has crashed; its whole tmux_workspace comes with it, or nothing does. Its program has run on. "
        "Output begins anew with what tmux still shows. Returns the status, with the session_id, which is the old one.",
        Recover,
        Recovered,
        Hints("Recover a session from tmux", idempotent=True),
        "core",
        recover,
    ),
)
