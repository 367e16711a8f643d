"""Used wrongly, the clients leave nothing behind: no descriptor, no task, no session that nobody can find."""

import gc
import os
import threading
import warnings
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.cli.fake_daemon import FakeDaemon, daemon
from tests.sdk.conftest import Awaitably, Node, Run, run_with

from ptybridge import AsyncClient, Client
from ptybridge.errors import (
    ClientClosed,
    ConfigInvalid,
    ConnectionLost,
    DaemonUnreachable,
    InvalidParams,
    RequestTimeout,
    SessionNotFound,
)
from ptybridge.sdk.settings import Settings

__all__ = ["daemon"]


def descriptors() -> int:
    gc.collect()  # else what an earlier test has left to the collector would go in the middle of this one
    return len(os.listdir("/proc/self/fd"))


def test_a_forgotten_client_warns_and_is_closed(node: Node) -> None:
    kept = [Client.local(socket=node.socket, start=False)]
    before = descriptors()
    kept[0].node.limits()
    assert descriptors() == before + 1
    with pytest.warns(ResourceWarning, match="not closed"):
        kept.clear()
    assert descriptors() == before


def test_a_forgotten_stream_warns_and_is_closed(node: Node) -> None:
    with Client.local(socket=node.socket, start=False) as client:
        before = descriptors()
        with client.sessions.create(["sh", "-c", "echo x; cat"]) as session:
            kept = [client.sessions.follow(session.session_id)]
            next(kept[0])
            with pytest.warns(ResourceWarning, match="not closed"):
                kept.clear()
        assert descriptors() == before


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_forgotten_asynchronous_client_warns_and_is_closed(node: Node, backend: str) -> None:
    async def main() -> None:
        kept = [AsyncClient.local(socket=node.socket, start=False)]
        await kept[0].node.limits()
        before = descriptors()
        with pytest.warns(ResourceWarning, match="not closed"):
            kept.clear()
        assert descriptors() == before - 1

    anyio.run(main, backend=backend)


def test_use_after_the_end_is_an_error_of_its_own(run: Run) -> None:
    kept: list[Any] = []

    async def body(client: Any) -> None:
        session = await client.sessions.create(["cat"])
        kept.extend([client, session])
        async with session:
            stream = session.follow()
            async with stream:
                pass
            with pytest.raises(ClientClosed):
                await stream.__anext__()
            await session.close()  # the end of the block does not mind
        with pytest.raises(SessionNotFound):
            await session.read()
        await client.close()
        await client.close()
        assert client.is_closed
        with pytest.raises(ClientClosed):
            await session.write("x")
        with pytest.raises(ClientClosed):
            await client.files.read("/etc/hostname")

    run(body)


def test_an_error_inside_a_block_closes_the_session_and_comes_through(run: Run) -> None:
    async def body(client: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            async with await client.sessions.create(["cat"]) as session:
                _ = 1 // 0
        with pytest.raises(SessionNotFound):
            await client.sessions.get(session.session_id)

    run(body)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelled_waits_leave_nothing(node: Node, backend: str) -> None:
    async def body(client: AsyncClient) -> None:
        async with await client.sessions.create(["cat"]) as session:
            await client.node.limits()
            before = descriptors()
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(session.wait)
                    tasks.start_soon(session.expect, "never")
                while True:
                    if descriptors() >= before + 9:
                        break
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
            for _ in range(3):
                with anyio.move_on_after(0.02):
                    async for _chunk in session.follow():
                        pass
            assert descriptors() <= before
            assert await session.write("still fine\n") == 11
        # Cancelled in the middle of its block, a session is closed all the same.
        with anyio.move_on_after(1):
            async with await client.sessions.create(["cat"]) as session:
                await anyio.sleep_forever()
        with pytest.raises(SessionNotFound):
            await session.get()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # streams that are cancelled before they are entered
        run_with(backend, body, socket=node.socket, start=False)


def test_tasks_share_a_client(node: Node) -> None:
    async def body(client: AsyncClient) -> None:
        async with await client.sessions.create(["cat"]) as session:

            async def wait_for(text: str) -> None:
                await client.session(session.session_id).expect(text)

            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(wait_for, f"<{number}>")
                for number in range(20):
                    await session.write_line(f"<{number}>")

    run_with("asyncio", body, socket=node.socket, start=False)


def test_threads_share_a_client(node: Node) -> None:
    with Client.local(socket=node.socket, start=False) as client, client.sessions.create(["cat"]) as session:
        seen: list[str] = []

        def work(number: int) -> None:
            handle = client.session(session.session_id)
            for turn in range(10):
                handle.write_line(f"<{number}.{turn}>")
                seen.append(handle.expect(f"<{number}.{turn}>").after)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(seen)) == 80


# -- daemons that do not answer -----------------------------------------------------------------------------


@pytest.fixture
def silent(daemon: FakeDaemon) -> FakeDaemon:
    daemon.raw("session.list", lambda request: [])
    return daemon


def test_an_answer_that_does_not_come_is_a_time_out(silent: FakeDaemon, flavour: str) -> None:
    async def body(client: Any) -> None:
        with pytest.raises(RequestTimeout):
            await client.sessions.list()

    unentered(silent, flavour, body, request_timeout=0.2)
    # It lives, as the answer to the ping says: only the time for the answer counts.
    unentered(silent, flavour, body, request_timeout=0.5, keepalive_interval=0.05, keepalive_timeout=30.0)
    assert "node.limits" in [method for method, _ in silent.requests]


def test_a_daemon_without_a_sign_of_life_is_given_up_and_asked_again(silent: FakeDaemon, flavour: str) -> None:
    silent.raw("node.limits", lambda request: [])

    async def body(client: Any) -> None:
        with pytest.raises(ConnectionLost, match="said nothing"):
            await client.sessions.list()

    quick = {"keepalive_interval": 0.05, "keepalive_timeout": 0.1, "retry_initial": 0.01}
    unentered(silent, flavour, body, retry_attempts=2, **quick)
    assert [method for method, _ in silent.requests].count("session.list") == 2


def unentered(daemon: FakeDaemon, flavour: str, body: Any, **settings: Any) -> None:
    """Run a body with a client that has not asked the daemon for anything."""

    async def main() -> None:
        kind: Any = Client if flavour == "blocking" else AsyncClient
        client = kind.local(socket=daemon.path, start=False, **settings)
        await body(Awaitably(client) if flavour == "blocking" else client)
        if flavour == "blocking":
            client.close()
        else:
            await client.close()

    anyio.run(main, backend="asyncio" if flavour == "asyncio" else "trio")


def test_a_busy_daemon_is_asked_again(daemon: FakeDaemon) -> None:
    answers = iter(["too_many_requests", "shutting_down"])

    def answer(request: dict[str, Any]) -> list[dict[str, Any]]:
        code = next(answers, None)
        if code is None:
            return [{"jsonrpc": "2.0", "id": request["id"], "result": {"sessions": []}}]
        error = {"code": -32000, "message": code, "data": {"code": code, "retryable": True}}
        return [{"jsonrpc": "2.0", "id": request["id"], "error": error}]

    daemon.raw("session.list", answer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTYBRIDGE_SDK_RETRY_INITIAL", "0.001")
        client = Client.local(socket=daemon.path, start=False)
    assert client.sessions.list().sessions == []
    daemon.error("session.write", "input_full", "full")
    with pytest.raises(Exception, match="full"):
        client.session("s1").write("x")
    assert [method for method, _ in daemon.requests].count("session.write") == 1
    client.close()


def test_no_daemon_is_unreachable(runtime_dir: Path) -> None:
    runtime_dir.chmod(0o700)
    with pytest.raises(DaemonUnreachable) as caught:
        Client.local(socket=runtime_dir / "none", start=False).connect()
    assert caught.value.hint
    paths = [runtime_dir, runtime_dir / "other"]
    with pytest.raises(DaemonUnreachable):
        Client.local(discovery_paths=paths, use_defaults=False).connect()


# -- settings -----------------------------------------------------------------------------------------------


def test_settings_come_from_arguments_then_from_the_environment() -> None:
    env = {
        "PTYBRIDGE_SDK_REQUEST_TIMEOUT": "7.5",
        "PTYBRIDGE_SDK_STREAM_TIMEOUT": "none",
        "PTYBRIDGE_SDK_RETRY_MAX": "2",
    }
    found = Settings.load(env, retry_max=3.0)
    assert (found.request_timeout, found.stream_timeout, found.retry_max) == (7.5, None, 3.0)
    for wrong in ({"PTYBRIDGE_SDK_RETRY_ATTEMPTS": "many"}, {"PTYBRIDGE_SDK_CONNECT_TIMEOUT": "-1"}):
        with pytest.raises(ConfigInvalid):
            Settings.load(wrong)
    with pytest.raises(ConfigInvalid):
        Settings.load({}, nonsense=1)
    with pytest.raises(ConfigInvalid):
        Settings.load({}, retry_attempts=0)


def test_a_duration_that_is_none_is_refused(node: Node) -> None:
    with Client.local(socket=node.socket, start=False) as client:
        for wrong in (-1.0, float("nan"), float("inf")):
            with pytest.raises(InvalidParams):
                client.sessions.wait("x", [], timeout=wrong)
