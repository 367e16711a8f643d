"""S29 for every operation: what gives out anything of a session never gives an agent a secret, in no form of output.

A new operation fails the first test until it stands in one of the tables: with a call that would give a secret out,
or among those that give out nothing of what programs show.
"""

import base64
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import trio
from tests.conftest import NeedTool
from tests.contract.endpoints import OPERATIONS, PATIENCE_SECONDS, StreamEnded
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import PATIENCE_MS, start
from tests.contract.shells import home_of, open_shell, run
from tests.contract.test_secrets import agent

from ptybridge.api import (
    app,
    archive,
    attach,
    command,
    event,
    exec,
    file,
    find,
    recovery,
    session,
    terminal,
    transfer,
    watch,
)
from ptybridge.api import mcp as mcp_api
from ptybridge.daemon import Daemon
from ptybridge.errors import Denied

VALUE: Final = "correct-Horse42-battery"
# More of a secret than this in a row is no chance, wherever an answer was cut.
PIECE: Final = 6
COLS: Final = 60
# As programs show it: whole, in colours, with the cursor sent back and forth, broken by the width, in pieces.
FORMS: Final = {
    "plain": f"{VALUE}\\n",
    "coloured": f"\\033[1m{VALUE[:7]}\\033[31m{VALUE[7:12]}\\033[0m{VALUE[12:]}\\n",
    "every character apart": "".join(f"\\033[3{n % 8}m{one}" for n, one in enumerate(VALUE)) + "\\033[m\\n",
    "wrapped": "x" * (COLS - 9) + f"{VALUE}\\n",
    "many": (f"{VALUE} " * 400) + "\\n",
}
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|<[^>]*>|[\r\n]")


def texts_of(answer: Any) -> list[str]:
    """Return every text in an answer, decoded where it is base64."""
    if isinstance(answer, str):
        return [answer]
    if isinstance(answer, list):
        return [text for one in answer for text in texts_of(one)]
    if not isinstance(answer, dict):
        return []
    found = []
    for name, one in answer.items():
        encoded = answer.get("encoding") == "base64" and name in {"data", "stdout", "stderr"}
        found += [base64.b64decode(one).decode("utf-8", "replace")] if encoded else texts_of(one)
    return found


def shown(*answers: Any) -> str:
    """Return all text of answers as a reader would put it together."""
    texts = [text for one in answers for text in texts_of(msgspec.to_builtins(one))]
    return _ESCAPES.sub("", "".join(texts))


def pieces_of(value: str, text: str) -> list[str]:
    """Return which longer parts of the value are in a text."""
    parts = [value[at : at + PIECE] for at in range(len(value) - PIECE + 1)]
    return [part for part in parts if part in text]


class Stage:
    """A shell that has shown the secret in one form, and somebody who looks at it."""

    def __init__(self, client: LocalClient, session_id: str, home: Path) -> None:
        self.client, self.session_id, self.home = client, session_id, home

    async def call(self, operation: Any, **params: Any) -> Any:
        return await self.client.call(operation, session_id=self.session_id, **params)

    async def collected(self, operation: Any, enough: Callable[[list[Any]], bool], **params: Any) -> list[Any]:
        """Take events of a stream until there are enough, or it ends."""
        events: list[Any] = []
        async with self.client.stream(operation, **params) as stream:
            try:
                while not enough(events):
                    events.append(await stream.next())
            except StreamEnded:
                pass
        return events


Look = Callable[[Stage], Awaitable[Any]]


async def read_in_pages(stage: Stage) -> list[Any]:
    """Read everything in small pages, as text, as base64 and by offset; a reader puts the pages together."""
    whole = [await stage.call(terminal.READ, offset=0, encoding=encoding) for encoding in ("text", "base64")]
    # They end everywhere in a secret, and thousands of them would only take long.
    size = 7 if len(whole[0].data) < 2000 else 61
    pages, offset = [], 0
    while True:
        page = await stage.call(terminal.READ, offset=offset, max_bytes=size)
        if not page.data:
            break
        pages.append(page)
        offset = page.next_offset
    while (page := await stage.call(terminal.READ, max_chars=size - 2)).data:
        pages.append(page)
    return whole + pages


async def screens(stage: Stage) -> list[Any]:
    return [
        await stage.call(terminal.SCREEN, format=form, scrollback_lines=lines)
        for form in ("text", "ansi", "html")
        for lines in (0, 1000)
    ]


async def commands(stage: Stage) -> list[Any]:
    listed = await stage.call(command.LIST)
    numbers = [one.number for one in listed.commands]
    limits = [1024, 1024 + 5, 65536]
    return [
        await stage.call(command.GET, number=number, max_output_bytes=limit, clean=clean)
        for number in numbers
        for limit in limits
        for clean in (True, False)
    ]


async def followed(stage: Stage) -> list[Any]:
    end = (await stage.call(session.GET)).end_offset

    def enough(events: list[Any]) -> bool:
        return any(getattr(one, "next_offset", 0) >= end for one in events)

    return [
        await stage.collected(attach.FOLLOW, enough, session_id=stage.session_id, offset=0, encoding=encoding)
        for encoding in ("text", "base64")
    ]


async def events(stage: Stage) -> list[Any]:
    return await stage.collected(event.FOLLOW, lambda seen: len(seen) > 1, after=0, types=["title", "notification"])


async def executed(stage: Stage) -> list[Any]:
    programs = [["cat", "secret"], ["sh", "-c", "cat secret >&2"]]
    return [
        await stage.client.call(
            exec.RUN, command=one, cwd=str(stage.home), pty=pty, encoding=encoding, max_output_bytes=limit,
            timeout_ms=PATIENCE_MS,
        )
        for one in programs
        for pty in (True, False)
        for encoding in ("text", "base64")
        for limit in (1024, 65536)
    ]  # fmt: skip


async def streamed(stage: Stage) -> list[Any]:
    def done(events: list[Any]) -> bool:
        return any(isinstance(one, exec.FinishedEvent) for one in events)

    # Piece by piece, so that it comes in several events.
    slowly = 'while IFS= read -r -n1 c; do printf %s "$c"; sleep 0.002; done < short'
    programs = [["cat", "secret"], ["bash", "-c", slowly], ["bash", "-c", f"({slowly}) >&2"]]
    return [
        await stage.collected(
            exec.STREAM, done, command=one, cwd=str(stage.home), pty=pty, encoding=encoding, timeout_ms=PATIENCE_MS
        )
        for one in programs
        for pty in (True, False)
        for encoding in ("text", "base64")
    ]


async def ran(stage: Stage) -> list[Any]:
    limits = [1024, 1024 + 9, 65536]
    return [
        await run(stage.client, stage.session_id, "cat secret", max_output_bytes=limit, clean=clean)
        for limit in limits
        for clean in (True, False)
    ]


async def prompted(stage: Stage) -> list[Any]:
    return [
        await stage.call(terminal.PROMPT, data="cat secret; echo o''k", until=[{"pattern": "ok"}], max_bytes=size)
        for size in (64, 1024, 65536)
    ]


async def searched(stage: Stage) -> list[Any]:
    first = VALUE[:4]
    return [await stage.call(command.SEARCH, pattern=one, regex=True, context_lines=2) for one in (first, "x+", ".")]


async def waited(stage: Stage) -> Any:
    regex = f"{VALUE[:3]}.*"
    return await stage.call(terminal.WAIT, until=[{"pattern": regex, "regex": True}], offset=0, timeout_ms=PATIENCE_MS)


async def read_until(stage: Stage) -> list[Any]:
    return [
        await stage.call(terminal.READ_UNTIL, pattern="\n", plain=plain, offset=offset, timeout_ms=100)
        for plain in (True, False)
        for offset in (0, 1, None, None, None)
    ]


def of_files(operation: Any, **params: Any) -> Look:
    async def look(stage: Stage) -> Any:
        return await stage.client.call(operation, cwd=str(stage.home), **params)

    return look


async def file_pages(stage: Stage) -> list[Any]:
    return [
        await stage.client.call(file.READ, path="short", cwd=str(stage.home), encoding=encoding)
        for encoding in ("text", "base64")
    ]


async def archived(stage: Stage) -> list[Any]:
    params = {"sources": [f"named {VALUE}"], "destination": f"{VALUE}.zip", "cwd": str(stage.home), "overwrite": True}
    return await stage.collected(archive.ARCHIVE, lambda _: False, **params)


async def extracted(stage: Stage) -> list[Any]:
    await archived(stage)
    params = {"source": f"{VALUE}.zip", "destination": f"{stage.client.caller.profile} {VALUE}"}
    return await stage.collected(archive.EXTRACT, lambda _: False, cwd=str(stage.home), **params)


async def found(stage: Stage) -> list[Any]:
    params = {"path": ".", "pattern": "correct", "context_lines": 1, "cwd": str(stage.home)}
    return await stage.collected(find.FIND, lambda _: False, **params)


async def changed(stage: Stage) -> list[Any]:
    events: list[Any] = []
    async with stage.client.stream(watch.WATCH, path=str(stage.home)) as stream:
        events.append(stream.opened)
        (stage.home / f"{stage.client.caller.profile} {VALUE} new").touch()
        events.append(await stream.next())
    return events


async def created(stage: Stage) -> Any:
    return await stage.client.call(session.CREATE, command=["sh", "-c", f": {VALUE}"], owner="o", name=None)


async def of_list(stage: Stage) -> Any:
    return await stage.client.call(session.LIST)


async def recovered(stage: Stage) -> Any:
    command = ["sh", "-c", f": {VALUE}; exec sleep 300"]
    labels = {"name": f"pane {stage.client.caller.profile}", "owner": "o"}
    await stage.client.call(session.CREATE, command=command, backend="tmux", **labels)
    found = await stage.client.call(recovery.RECOVER, **labels)
    # What is in tmux would outlive the daemon, and the test.
    await stage.client.call(session.CLOSE, session_id=found.session.session_id)
    return found


def one_call(operation: Any, **params: Any) -> Look:
    async def look(stage: Stage) -> Any:
        return await stage.call(operation, **params)

    return look


LOOKS: Final[dict[Any, Look]] = {
    session.CREATE: created,
    session.LIST: of_list,
    session.GET: one_call(session.GET, detailed=True),
    session.UPDATE: one_call(session.UPDATE, tags=["t"]),
    recovery.RECOVER: recovered,
    terminal.READ: read_in_pages,
    terminal.READ_UNTIL: read_until,
    terminal.WAIT: waited,
    terminal.PROMPT: prompted,
    terminal.SCREEN: screens,
    command.RUN: ran,
    command.LIST: one_call(command.LIST),
    command.GET: commands,
    command.SEARCH: searched,
    attach.FOLLOW: followed,
    event.FOLLOW: events,
    exec.RUN: executed,
    exec.STREAM: streamed,
    file.LIST: of_files(file.LIST, path="."),
    file.READ: file_pages,
    file.INFO: of_files(file.INFO, path=f"named {VALUE}"),
    find.FIND: found,
    archive.ARCHIVE: archived,
    watch.WATCH: changed,
    archive.EXTRACT: extracted,
    file.SEARCH: of_files(file.SEARCH, path=".", pattern="correct", context_lines=1),
}
# Frames of raw bytes, in which nothing is looked for.
CHANNELS: Final[dict[Any, dict[str, Any]]] = {
    attach.ATTACH: {"session_id": "x", "rows": 5, "cols": 5, "mode": "viewer"},
    transfer.UPLOAD: {"path": "/tmp/x"},
    transfer.DOWNLOAD: {"path": "/tmp/x"},
    mcp_api.OPEN: {},
}
# Refused to agents as well: what a page's path says goes to the program as input, and nothing judges it.
REFUSED: Final[dict[Any, dict[str, Any]]] = {app.REQUEST: {}}
# Facts of ptybridge's own, what the caller itself has said, and numbers.
SILENT: Final = frozenset(
    "session.resize session.signal session.close session.close_all session.kick session.write session.send_keys "
    "session.paste file.fetch file.write file.delete file.copy file.move file.mkdir lease.get lease.acquire "
    "lease.release "
    "lease.handoff lease.takeover policy.check policy.confirm secret.request secret.list secret.provide secret.deny "
    "approval.list approval.decide approval.wait key.create key.list key.revoke node.info node.health node.metrics "
    "node.limits node.set_limits node.shutdown node.restart node.upgrade rpc.discover rpc.cancel web.open "
    "node.whoami web.status share.join share.link share.status".split()
)


def test_s29_every_operation_is_looked_at() -> None:
    looked_at = {one.name for one in (*LOOKS, *CHANNELS, *REFUSED)}
    assert not looked_at & SILENT
    assert looked_at | SILENT == set(OPERATIONS), "a new operation: can it give out what a program has shown?"
    assert {one.name for one in CHANNELS} == {one.name for one in OPERATIONS.values() if one.kind == "channel"}


@pytest.mark.parametrize("operation", CHANNELS, ids=lambda one: one.name)
async def test_s29_agents_open_no_channels(daemon: Daemon, operation: Any) -> None:
    with pytest.raises(Denied, match="agents"):
        async with agent(daemon).channel(operation, **CHANNELS[operation]):
            pass


@pytest.mark.parametrize("operation", REFUSED, ids=lambda one: one.name)
async def test_s29_agents_are_refused(daemon: Daemon, operation: Any) -> None:
    session_id = await start(LocalClient(daemon), "cat", backend="pipes")
    with pytest.raises(Denied, match="agents"):
        await agent(daemon).call(operation, session_id=session_id, **REFUSED[operation])


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def set_stage(daemon: Daemon, tmp_path: Path, form: str) -> tuple[LocalClient, str, Path]:
    human = LocalClient(daemon)
    home = home_of(tmp_path)
    printed = FORMS[form]
    (home / "secret").write_bytes(printed.encode().decode("unicode_escape").encode("latin-1"))
    (home / "short").write_text(f"{VALUE}\n")
    (home / f"named {VALUE}").touch()
    session_id = await open_shell(human, home, cols=COLS, rows=5, name="shell", owner="o")
    daemon.sessions.secrets.add(session_id, VALUE.encode())
    titled = f"printf '\\033]2;%s\\007\\033]9;%s\\007' {VALUE} {VALUE}"
    for text in (titled, "cat secret", "cat secret"):
        assert (await run(human, session_id, text)).reason == "completed"
    return human, session_id, home


@pytest.mark.parametrize("operation", LOOKS, ids=lambda one: one.name)
async def test_s29_no_answer_has_a_secret_for_an_agent(
    daemon: Daemon, tmp_path: Path, operation: Any, form: str, need_tool: NeedTool
) -> None:
    if operation is recovery.RECOVER:
        need_tool("tmux")
    human, session_id, home = await set_stage(daemon, tmp_path, form)
    look = LOOKS[operation]
    with trio.fail_after(PATIENCE_SECONDS * 2):
        seen_by_agent = await look(Stage(agent(daemon), session_id, home))
        seen_by_human = await look(Stage(human, session_id, home))
    # The call does give it out, to whom it may.
    assert pieces_of(VALUE, shown(seen_by_human)), operation.name
    text = shown(seen_by_agent)
    assert pieces_of(VALUE, text) == [], text[-3000:]
