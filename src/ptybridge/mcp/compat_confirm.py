"""pty-mcp's confirm_dangerous_command, and its "legacy" way of confirming."""

import dataclasses
from typing import Annotated, Final

import msgspec

from ptybridge.api import approval
from ptybridge.api import policy as api
from ptybridge.mcp.compat_common import Answered, Arguments, Justification, Name, connection, to_json
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool
from ptybridge.model import Access

# Clients give a call about a minute.
HUMAN_MS: Final = 45_000


class Confirm(Arguments, kw_only=True):
    """Parameters of confirm_dangerous_command."""

    command: Annotated[
        str, msgspec.Meta(min_length=1, description="exactly what would run; of input the whole line, without Enter")
    ]
    justification: Annotated[
        Justification | None, msgspec.Meta(description="why it must run; ask your user if in doubt")
    ] = None
    owner: Annotated[Name | None, msgspec.Meta(description="the session's owner; the token is for it only")] = None
    scope: Annotated[Access | None, msgspec.Meta(description="the session's scope; the token is for it only")] = None


class Confirmed(Answered, kw_only=True, omit_defaults=True):
    """Whether it is dangerous and why; the token and until when it is good, in seconds since the epoch."""

    ok: bool
    dangerous: bool
    matches: list[str]
    error: str | None = None
    confirm_token: str | None = None
    expires_at: float | None = None


async def confirm(ctx: Context, params: Confirm) -> Answer:
    """Give a token for a dangerous command."""
    reason = (params.justification or "").strip() or None
    found = await ctx.call(
        api.CONFIRM,
        command=params.command,
        justification=reason,
        owner=params.owner,
        access=params.scope,
        cwd=connection(ctx).default_cwd or ctx.cwd,
    )
    if found.approval_id is not None:
        return await _asked(ctx, found)
    matches = [one.reason for one in found.matches] or [f"the rule {found.rule} asks about it"]
    if found.verdict == "allow":
        answer = Confirmed(ok=True, dangerous=False, matches=[])
    elif found.verdict == "deny":
        error = f"the policy's rule {found.rule} does not allow this; no token can"
        answer = Confirmed(ok=False, dangerous=True, matches=matches, error=error)
    elif found.confirm_token is None or found.expires_at_ms is None:
        answer = Confirmed(ok=False, dangerous=True, matches=matches, error="justification required")
    else:
        answer = Confirmed(
            ok=True,
            dangerous=True,
            matches=matches,
            confirm_token=found.confirm_token,
            expires_at=found.expires_at_ms / 1000,
        )
    plain = msgspec.to_builtins(answer)
    return Answer(to_json(plain), plain)


async def _asked(ctx: Context, found: api.Confirmed) -> Answer:
    """Wait a while for the human who decides; asking again goes on waiting."""
    matches = [one.reason for one in found.matches] or [f"the rule {found.rule} asks about it"]
    await ctx.progress(0, None, f"waiting for your user to answer `ptybridge approvals` ({found.approval_id})")
    told = await ctx.call(approval.WAIT, approval_id=found.approval_id, timeout_ms=HUMAN_MS)
    said = f": {told.message}" if told.message else ""
    errors = {
        "denied": f"your user has denied it{said}",
        "expired": "your user has not answered, and the question has expired",
        "timeout": f"your user has not answered yet (`ptybridge approvals allow {found.approval_id}` would allow it): "
        "call this again to go on waiting",
    }
    answer = Confirmed(
        ok=told.confirm_token is not None,
        dangerous=True,
        matches=matches,
        error=errors.get(told.reason),
        confirm_token=told.confirm_token,
        expires_at=told.token_expires_at_ms / 1000 if told.token_expires_at_ms is not None else None,
    )
    plain = msgspec.to_builtins(answer)
    return Answer(to_json(plain), plain)


def confirming(ctx: Context, confirmed: bool, justification: str | None) -> Context:
    """Return the context to start a program in; in legacy mode saying so, or any reason, confirms it."""
    justified = bool((justification or "").strip())
    if not (confirmed or justified):
        return ctx
    legacy = connection(ctx).settings.dangerous_legacy_mode
    caution = msgspec.structs.replace(ctx.caller.caution, confirmed=legacy, justified=justified)
    return dataclasses.replace(ctx, caller=msgspec.structs.replace(ctx.caller, caution=caution))


TOOLS: Final = (
    Tool(
        "confirm_dangerous_command",
        "Get the token for a command that was refused as dangerous, or learn that a command is harmless. The token is "
        "good once, for exactly this command, for some minutes: give it as dangerous_confirm_token to pty_spawn, as "
        "confirm_token to other tools. Only for what your user has asked for; if in doubt, ask first.",
        Confirm,
        Confirmed,
        Hints("Confirm a dangerous command", destructive=True),
        "core",
        confirm,
        for_agents=True,
    ),
)
