"""Sessions in tmux through a daemon: characters, and nothing left behind."""

import os

import trio
from tests.conftest import NeedTool
from tests.contract.endpoints import PATIENCE_SECONDS, Client
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import exited, output, until

from ptybridge.api import session, terminal
from ptybridge.core import procinfo
from ptybridge.daemon import Daemon


async def test_characters_of_all_scripts_go_in_and_out(client: Client, need_tool: NeedTool) -> None:
    need_tool("tmux")
    text = "grüße 你好 🙂 é"
    made = await client.call(session.CREATE, command=["cat"], backend="tmux", echo=False)
    await client.call(terminal.WRITE, session_id=made.session_id, data=text + "\n")
    await until(client, made.session_id, text)
    await client.call(terminal.WRITE, session_id=made.session_id, data="\x04")
    assert (await exited(client, made.session_id)).exit_code == 0
    assert await output(client, made.session_id) == text + "\r\n"


async def test_sessions_that_come_and_go_leave_no_descriptor_and_no_process(
    daemon: Daemon, need_tool: NeedTool
) -> None:
    need_tool("tmux")
    client = LocalClient(daemon)

    async def come_and_go() -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            made = await client.call(session.CREATE, command=["cat"], backend="tmux")
            await client.call(session.CLOSE, session_id=made.session_id)

    def left() -> list[int]:
        where = daemon.config.paths.tmux_dir
        return [
            one.pid for one in procinfo.processes() if any(where in word for word in procinfo.process_command(one.pid))
        ]

    await come_and_go()
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        await come_and_go()
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            if not left() and len(os.listdir("/proc/self/fd")) <= descriptors:
                break
            await trio.sleep(0.05)
