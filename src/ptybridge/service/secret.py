"""Handlers of secrets: requests that wait for a human, or for a configured program, to type a value into a session."""

import logging
import os
import secrets
from typing import Final

import trio

from ptybridge.api import secret as api
from ptybridge.api.operation import Done
from ptybridge.core.eventlog import now_ms
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions
from ptybridge.errors import Denied, EchoOn, LimitReached, PtybridgeError, SecretNotFound
from ptybridge.model import Caller, SecretAnswered, SecretRequested
from ptybridge.service import authority
from ptybridge.service.dispatcher import handles
from ptybridge.service.facts import foreground
from ptybridge.text import printable

log = logging.getLogger(__name__)

MAX_PENDING: Final = 100
# These show what they read in raw mode, where the terminal itself does not.
SHELLS: Final = frozenset({"sh", "bash", "zsh", "fish", "dash", "ksh"})
PROMPT_VARIABLE: Final = "PTYBRIDGE_SECRET_PROMPT"


class _Request:
    """One request that waits."""

    def __init__(self, caller: Caller, session: Session, params: api.RequestSecret) -> None:
        self.request_id = secrets.token_hex(4)
        self.session = session
        self.prompt = printable(params.prompt, 500)
        self.enter = params.enter
        self.asked_by = params.client_id or caller.client_id or caller.profile or caller.principal
        self.created_at_ms = now_ms()
        self.result = api.SecretResult(reason="timeout")
        self.answered = trio.Event()
        self.giving = False

    def answer(self, result: api.SecretResult) -> None:
        self.result = result
        self.answered.set()


class SecretService:
    """Secrets. `command` prints a value for the prompt in its environment; without one only people answer."""

    def __init__(self, sessions: Sessions, command: list[str]) -> None:
        self._sessions = sessions
        self._command = command
        self._pending: dict[str, _Request] = {}

    @handles(api.REQUEST)
    async def request(self, caller: Caller, params: api.RequestSecret) -> api.SecretResult:
        """Wait until somebody answers."""
        session = self._sessions.get(params.session_id)
        authority.require(caller, session, "read-write", client_id=params.client_id, writing=True)
        session.require_running()
        if len(self._pending) >= MAX_PENDING:
            raise LimitReached(f"{MAX_PENDING} requests for secrets wait already")
        request = _Request(caller, session, params)
        self._pending[request.request_id] = request
        self._sessions.events.publish(
            SecretRequested, session.session_id, request_id=request.request_id, prompt=request.prompt
        )
        reason = "cancelled"
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_exit, request)
                if self._command:
                    nursery.start_soon(self._run_command, request)
                with trio.move_on_after(params.timeout_ms / 1000):
                    await request.answered.wait()
                nursery.cancel_scope.cancel()
            reason = request.result.reason
            return request.result
        finally:
            del self._pending[request.request_id]
            self._sessions.events.publish(
                SecretAnswered, session.session_id, request_id=request.request_id, reason=reason
            )

    @handles(api.LIST)
    def list(self, caller: Caller, params: api.ListSecrets) -> api.PendingSecrets:
        """List what waits."""
        return api.PendingSecrets(
            requests=[
                api.PendingSecret(
                    request_id=one.request_id,
                    session_id=one.session.session_id,
                    session_name=one.session.labels.name,
                    command=one.session.command,
                    prompt=one.prompt,
                    asked_by=one.asked_by,
                    created_at_ms=one.created_at_ms,
                    echo=_shown(one.session) is not None,
                )
                for one in self._pending.values()
            ]
        )

    @handles(api.PROVIDE)
    async def provide(self, caller: Caller, params: api.ProvideSecret) -> api.SecretResult:
        """Type a value."""
        request = self._answerable(caller, params.request_id)
        return await self._give(request, params.value.encode("utf-8", "surrogatepass"), allow_echo=params.allow_echo)

    @handles(api.DENY)
    def deny(self, caller: Caller, params: api.DenySecret) -> Done:
        """Refuse."""
        self._answerable(caller, params.request_id).answer(api.SecretResult(reason="denied"))
        return Done()

    # -- inside ---------------------------------------------------------------------------------------------

    def _answerable(self, caller: Caller, request_id: str) -> _Request:
        if caller.profile is not None:
            raise Denied("AI agents do not answer requests for secrets", hint="a human does: `ptybridge secrets`")
        request = self._pending.get(request_id)
        if request is None or request.answered.is_set() or request.giving:
            raise SecretNotFound(f"no request {request_id[:64]!r} waits for a secret")
        return request

    async def _give(self, request: _Request, value: bytes, *, allow_echo: bool) -> api.SecretResult:
        session = request.session
        session.require_running()
        shown = _shown(session)
        if shown is not None and not allow_echo:
            raise EchoOn(f"session {session.session_id} would show the secret: {shown}")
        # Before it is typed: whatever shows up from here on is redacted.
        redacted = self._sessions.secrets.add(session.session_id, value)
        ending = (b"\n" if session.child.backend == "pipes" else b"\r") if request.enter else b""
        request.giving = True  # nobody else gives it meanwhile
        try:
            accepted = await session.input.write(value + ending)
        finally:
            request.giving = False
        result = api.SecretResult(reason="provided", accepted_bytes=accepted, redacted=redacted)
        request.answer(result)
        return result

    async def _watch_exit(self, request: _Request) -> None:
        await request.session.exited.wait()
        if not request.answered.is_set():
            request.answer(api.SecretResult(reason="exited"))

    async def _run_command(self, request: _Request) -> None:
        """Ask the configured program; when it fails, people are asked as without it."""
        environ = {**os.environ, PROMPT_VARIABLE: request.prompt, "PTYBRIDGE_SESSION_ID": request.session.session_id}
        try:
            done = await trio.run_process(
                self._command, env=environ, stdin=b"", capture_stdout=True, capture_stderr=True, check=False
            )
            value = done.stdout.rstrip(b"\r\n")
            if done.returncode != 0 or not value:
                log.warning("secret.command gave no value for session %s", request.session.session_id)
                return
            if not request.answered.is_set() and not request.giving:
                await self._give(request, value, allow_echo=False)
        except OSError as exc:
            log.warning("cannot run secret.command: %s", exc)
        except PtybridgeError as exc:
            log.warning("the value of secret.command was not used: %s", exc.message)


def _shown(session: Session) -> str | None:
    """Return why the session would show what is typed now, None when it would not."""
    mode = session.child.line_mode()
    if mode is None:
        return None  # no terminal, no echo
    if mode.echo:
        return "its terminal echoes what is typed"
    if not mode.canonical:
        found = foreground(session)
        if found is not None and found.name in SHELLS:
            return f"{found.name} is at its prompt, and shows and remembers what is typed"
    return None
