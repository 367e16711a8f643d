"""pty_send_secret: the user types, the model learns only that it happened; and a program that knows the value."""

import sys
from pathlib import Path

import trio
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import until
from tests.contract.test_secrets import VALUE, pending
from tests.mcp.compat.conftest import Client

from ptybridge.api import secret
from ptybridge.api import session as session_api
from ptybridge.daemon import Daemon
from ptybridge.service.secret import SecretService

ASKS = "stty -echo; printf 'Password: '; read p; stty echo; echo; echo \"got $p\"; sleep 60"


async def test_the_model_never_sees_what_the_user_types(client: Client, human: LocalClient) -> None:
    session = await client.spawn(ASKS)
    await until(human, session, "Password: ")
    told = []

    async def ask() -> None:
        told.append(await client.answer("pty_send_secret", session_id=session, owner="me", prompt="sudo password"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        request = await pending(human)
        assert (request.asked_by, request.prompt) == ("mcp", "sudo password")
        await human.call(secret.PROVIDE, request_id=request.request_id, value=VALUE)
    assert told[0].structured == {"reason": "provided", "accepted_bytes": len(VALUE) + 1, "redacted": True}
    await until(human, session, f"got {VALUE}")
    seen = await client.answer("pty_read_at", session_id=session, owner="me", offset=0, max_chars=4000)
    assert "got [redacted]" in seen.text
    assert VALUE not in seen.text + str(seen.structured)


async def test_a_program_gives_the_value_or_people_are_asked(
    daemon: Daemon, human: LocalClient, tmp_path: Path
) -> None:
    vault = tmp_path / "vault"
    vault.write_text(
        f"#!{sys.executable}\nimport os\n"
        f"if os.environ['PTYBRIDGE_SECRET_PROMPT'] == 'known': print({VALUE!r})\nelse: raise SystemExit(1)\n"
    )
    service = SecretService(daemon.sessions, [sys.executable, str(vault)])
    caller = human.caller
    info = await human.call(session_api.CREATE, command=["sh", "-c", ASKS])
    await until(human, info.session_id, "Password: ")
    asked = secret.RequestSecret(session_id=info.session_id, prompt="unknown", timeout_ms=0)
    assert (await service.request(caller, asked)).reason == "timeout"
    asked = secret.RequestSecret(session_id=info.session_id, prompt="known")
    assert (await service.request(caller, asked)).reason == "provided"
    await until(human, info.session_id, f"got {VALUE}")
    missing = SecretService(daemon.sessions, ["/no/such/program"])
    asked = secret.RequestSecret(session_id=info.session_id, prompt="known", timeout_ms=0)
    assert (await missing.request(caller, asked)).reason == "timeout"
