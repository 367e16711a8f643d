"""Handlers that make, find, label, size, signal and end sessions."""

from collections.abc import Callable
from typing import Final

import msgspec
import trio

from ptybridge.api import session as api
from ptybridge.api.operation import Done
from ptybridge.config import Serve
from ptybridge.core import closing, signals
from ptybridge.core.labels import Labels
from ptybridge.core.limits import Limits
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions, SessionSpec
from ptybridge.errors import AttachmentNotFound, Conflict, InvalidParams
from ptybridge.model import Access, Caller, ExitStatus, Updated, WindowSize
from ptybridge.service import authority
from ptybridge.service.dispatcher import handles
from ptybridge.service.facts import InfoCache, info, position_key, seconds
from ptybridge.service.guard import Guard, home_of

# Whether closing also ends what has left the session; None: as who made it would expect.
_ENDS_ESCAPED: Final[dict[api.Background, bool | None]] = {"end": None, "leave": False, "all": True}


class SessionService:
    """Sessions as a whole."""

    def __init__(self, sessions: Sessions, guard: Guard, served: Callable[[], Serve] = Serve) -> None:
        """`served` tells what sessions that are made over the web without a command run."""
        self._sessions = sessions
        self._served = served
        self._guard = guard
        self._cache = InfoCache()

    @handles(api.CREATE)
    async def create(self, caller: Caller, params: api.Create) -> api.SessionInfo:
        """Start a program."""
        params = self._with_served(caller, params)
        passed = self._guard.check_spawn(
            caller,
            params.command,
            operation=api.CREATE.name,
            owner=params.owner,
            access=params.access,
            cwd=params.cwd,
            home=home_of(params.env, params.caller_env),
            token=params.confirm_token,
        )
        spec = SessionSpec(
            command=params.command,
            backend=params.backend,
            cwd=params.cwd,
            env=params.env or {},
            caller_env=params.caller_env,
            size=WindowSize(params.rows, params.cols),
            policy=params.window_size_policy,
            max_output_bytes=params.max_output_bytes,
            echo=params.echo,
            shell_integration=params.shell_integration,
            log_dir=params.log_dir,
            facts=self._guard.spawn_facts(caller, params, passed) if self._sessions.logs.wanted(params.log_dir) else {},
        )
        labels = Labels(
            name=params.name,
            owner=params.owner,
            tags=params.tags,
            access=params.access,
            profile=caller.profile,
            workspace=params.workspace,
        )
        limits = Limits(
            overflow=params.overflow,
            idle_timeout=seconds(params.idle_timeout_ms),
            max_runtime=seconds(params.max_runtime_ms),
            linger=params.linger_ms / 1000,
            input_rate=params.input_bytes_per_second,
            output_rate=params.output_bytes_per_second,
            keep=seconds(params.keep_ms),
            unattended_timeout=seconds(params.unattended_timeout_ms),
            max_clients=params.max_clients,
        )
        session = await self._sessions.create(spec, labels, limits, caller.principal)
        if caller.profile is not None:
            # An agent polls; from the first byte on a pausing program waits for it, and what it misses is counted.
            session.move(position_key(caller, params.client_id), 0)
        return info(self._sessions, session)

    def _with_served(self, caller: Caller, params: api.Create) -> api.Create:
        served = self._served()
        if params.command is not None or served.command is None or not authority.over_the_web(caller):
            return params
        cwd = served.cwd if params.cwd is None else params.cwd
        return msgspec.structs.replace(params, command=served.command, cwd=cwd, backend=served.backend)

    @handles(api.LIST)
    def list(self, caller: Caller, params: api.List) -> api.Sessions:
        """List sessions."""
        found = [
            self._cache.info(self._sessions, one)
            for one in self._sessions.all()
            if authority.sees(caller, one.session_id)
            and (params.owner is None or one.labels.owner == params.owner)
            and (params.tag is None or params.tag in one.labels.tags)
            and (params.state is None or one.state == params.state)
            and (params.name is None or one.labels.name == params.name)
            and (params.profile is None or one.labels.profile == params.profile)
            and (params.workspace is None or one.labels.workspace == params.workspace)
        ]
        return api.Sessions(sessions=found)

    @handles(api.GET)
    def get(self, caller: Caller, params: api.Get) -> api.SessionInfo:
        """Tell everything about one."""
        return info(self._sessions, self._sessions.get(params.session_id), detailed=params.detailed)

    @handles(api.RESIZE)
    def resize(self, caller: Caller, params: api.Resize) -> api.Size:
        """Set the size, the policy, or both."""
        session = self._sessions.get(params.session_id)
        authority.require(caller, session, "read-write", client_id=params.client_id, writing=True)
        group = session.attachments
        policy = params.policy or group.policy
        if params.cols is not None or params.rows is not None:
            session.require_running()
            if policy in {"smallest", "largest"} and len(group):
                raise Conflict(
                    f"the attached windows decide the size of {session.session_id} (policy {policy})",
                    hint="set the policy to manual or latest",
                )
        elif params.policy is None:
            raise InvalidParams("nothing to do: give cols and rows, or a policy")
        group.policy = policy
        if params.cols is None and params.rows is None:
            session.apply_policy()
        else:
            session.set_size(WindowSize(params.rows or group.size.rows, params.cols or group.size.cols))
        session.saver.record()
        return api.Size(rows=group.size.rows, cols=group.size.cols, window_size_policy=group.policy)

    @handles(api.SIGNAL)
    def signal(self, caller: Caller, params: api.Signal) -> Done:
        """Send a signal."""
        session = self._sessions.get(params.session_id)
        # Of a shared session visitors end nothing; whoever serves it does.
        owns = session.labels.shared and authority.is_creator(caller, session)
        needed: Access = "read-only" if owns else "control"
        authority.require(caller, session, needed, client_id=params.client_id, writing=True)
        number = signals.signal_number(params.signal)
        session.require_running()
        session.signalled = number
        session.child.signal(number, whole_session=params.target == "session")
        return Done()

    @handles(api.UPDATE)
    def update(self, caller: Caller, params: api.Update) -> api.SessionInfo:
        """Change labels and limits; all of it or nothing."""
        session = self._sessions.get(params.session_id)
        authority.require_command(caller, session, "admin", client_id=params.client_id)
        given = {
            name: value
            for name in params.__struct_fields__
            if name not in {"session_id", "client_id"} and (value := getattr(params, name)) is not msgspec.UNSET
        }
        old = session.labels
        labels = Labels(
            name=given.get("name", old.name),
            owner=given.get("owner", old.owner),
            tags=given.get("tags", old.tags),
            access=given.get("access", old.access),
            profile=old.profile,
            workspace=given.get("workspace", old.workspace),
            shared=old.shared,
        )
        if session.lease.holder is not None:
            for other in self._sessions.workspace_members(labels):
                if other.lease.holder not in (None, session.lease.holder):
                    raise other.lease.refusal(other.session_id)
        self._sessions.relabel(session, labels)
        limits = session.limits
        limits.overflow = given.get("overflow", limits.overflow)
        if "idle_timeout_ms" in given:
            limits.idle_timeout = seconds(given["idle_timeout_ms"])
        if "max_runtime_ms" in given:
            limits.max_runtime = seconds(given["max_runtime_ms"])
        if "unattended_timeout_ms" in given:
            limits.unattended_timeout = seconds(given["unattended_timeout_ms"])
        limits.max_clients = given.get("max_clients", limits.max_clients)
        if "keep_ms" in given:
            limits.keep = seconds(given["keep_ms"])
        if "input_bytes_per_second" in given:
            limits.input_rate = given["input_bytes_per_second"]
            session.input.set_rate(limits.input_rate)
        if "output_bytes_per_second" in given:
            session.set_output_rate(given["output_bytes_per_second"])
        session.saver.record()
        self._sessions.events.publish(Updated, session.session_id, name=labels.name, tags=labels.tags)
        return info(self._sessions, session)

    @handles(api.CLOSE)
    async def close(self, caller: Caller, params: api.Close) -> api.ClosedResult:
        """End and forget one."""
        session = self._sessions.get(params.session_id)
        authority.require_command(caller, session, "control", client_id=params.client_id)
        return await self._close(session, params.grace_ms / 1000, params.background)

    @handles(api.CLOSE_ALL)
    async def close_all(self, caller: Caller, params: api.CloseAll) -> api.ClosedAll:
        """End and forget all that match, at the same time."""
        chosen = [
            one
            for one in self._sessions.all()
            if (params.owner is None or one.labels.owner == params.owner)
            and (params.tag is None or params.tag in one.labels.tags)
            and (not params.exited_only or one.state == "exited")
        ]
        closed: list[api.ClosedResult] = []

        async def close_one(session: Session) -> None:
            closed.append(await self._close(session, params.grace_ms / 1000, params.background))

        async with trio.open_nursery() as nursery:
            for one in chosen:
                nursery.start_soon(close_one, one)
        return api.ClosedAll(closed=closed)

    async def _close(self, session: Session, grace: float, background: api.Background) -> api.ClosedResult:
        if background == "leave" and session.state == "exited":
            ended = await closing.spared(session)
            await self._sessions.forget(session)
        else:
            ended = await self._sessions.close(session, grace, escaped=_ENDS_ESCAPED[background])
        status = session.status or ExitStatus()
        return api.ClosedResult(
            session_id=session.session_id,
            signals=ended.signals,
            survivors=ended.survivors,
            escaped=ended.escaped,
            exit_code=status.code,
            exit_signal=status.signal,
            end_offset=session.log.end,
        )

    @handles(api.KICK)
    def kick(self, caller: Caller, params: api.Kick) -> Done:
        """Remove an attachment."""
        session = self._sessions.get(params.session_id)
        if not authority.is_creator(caller, session):
            authority.require(caller, session, "control")
        attachment = session.attachments.get(params.attachment_id)
        if attachment is None:
            raise AttachmentNotFound(f"session {session.session_id} has no attachment {params.attachment_id[:64]!r}")
        attachment.ended("kicked", params.reason or "removed by another client")
        return Done()
