"""The clients: sessions as handles, what pexpect is used for, terminals, files, and one signature for both."""

import inspect
import os
import re
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from tests.sdk.conftest import Run

from ptybridge import EXITED, TIMEOUT, AsyncClient, Client
from ptybridge.api.archive import FileProgress
from ptybridge.api.registry import contract
from ptybridge.api.terminal import Condition
from ptybridge.errors import (
    Denied,
    EtagMismatch,
    ExpectExited,
    ExpectTimeout,
    FileExists,
    FileNotFound,
    InvalidParams,
    SessionNotFound,
)
from ptybridge.sdk import describe, reference
from ptybridge.sdk.patterns import Chunk

DIALOGUE = "printf 'login: '; read name; printf 'password: '; read -s word; echo; echo \"welcome $name ${#word}\""


def test_a_dialogue_is_led_with_expect(run: Run) -> None:
    async def body(client: Any) -> None:
        async with await client.sessions.create(["/bin/sh", "-c", DIALOGUE.replace("read -s", "read")]) as session:
            match = await session.expect("login: ")
            assert (match.index, match.before, match.after) == (0, "", "login: ")
            await session.write_line("ann")
            await session.expect(["nobody", "password: "])
            await session.write_line("secret")
            match = await session.expect(re.compile(r"welcome (\w+) (\d+)"))
            assert match.groups == ("ann", "6")
            match = await session.expect(["more", EXITED])
            assert (match.index, match.pattern) == (1, EXITED)
            assert (await session.wait()).exit_code == 0

    run(body)


def test_texts_and_expressions_can_be_expected_together(run: Run) -> None:
    async def body(client: Any) -> None:
        async with await client.sessions.create(["printf", r"a.b (1) \033[31mRED\033[0m\n"]) as session:
            match = await session.expect(["no", "(1)", re.compile("red", re.IGNORECASE)])
            assert (match.index, match.before) == (1, "a.b ")
            match = await session.expect([re.compile("red", re.IGNORECASE), "(2)"])
            assert (match.index, match.after) == (0, "RED")

    run(body)


def test_expecting_in_vain_says_what_was_seen_and_moves_nothing(run: Run) -> None:
    async def body(client: Any) -> None:
        async with await client.sessions.create(["sh", "-c", "echo seen; cat"]) as session:
            await session.wait(pattern="seen", timeout=30)
            with pytest.raises(ExpectTimeout) as caught:
                await session.expect("unseen", timeout=0.05)
            assert "seen" in str(caught.value.data["before"])
            assert (await session.expect(["unseen", TIMEOUT], timeout=0.05)).pattern is TIMEOUT
            await session.expect("seen")
            await session.send_keys("ctrl-d")
            with pytest.raises(ExpectExited):
                await session.expect("unseen")
            with pytest.raises(InvalidParams):
                await session.expect([])

    run(body)


def test_reading_goes_on_from_the_handles_own_place(run: Run) -> None:
    async def body(client: Any) -> None:
        async with await client.sessions.create(["sh", "-c", "printf one; read x; printf two"]) as session:
            assert (await session.read(timeout=30)).data == "one"
            await session.write("\n")
            await session.wait()
            other = client.session(session.session_id)
            assert (await other.read_until("two")).data.startswith("one")
            assert (await session.read_until("two")).data.endswith("two")
            assert (await session.read()).eof

    run(body)


def test_output_is_followed_until_the_exit(run: Run) -> None:
    async def body(client: Any) -> None:
        command = "for n in 1 2 3; do echo line $n; done"
        async with await client.sessions.create(command, cols=40, rows=5) as session:
            async with session.follow() as output:
                seen: list[Chunk] = [chunk async for chunk in output]
            assert "".join(seen) == "line 1\r\nline 2\r\nline 3\r\n"
            assert (seen[0].offset, seen[-1].next_offset, seen[0].missed_bytes) == (0, 24, 0)
            assert output.exit is not None
            assert session.offset == 24

    run(body)


def test_a_command_runs_in_a_shell(run: Run) -> None:
    async def body(client: Any) -> None:
        async with await client.sessions.create(["bash"]) as session:
            ran = await session.run("echo out; (exit 7)", wait=True)
            assert (ran.exit_code, ran.output.strip()) == (7, "out")
            assert (await session.prompt("echo again")).reason == "idle"
            # Which on a busy machine may come before the shell's answer.
            # What stands before it is a mark of the shell's; before its echo it is a blank.
            answered = await client.sessions.wait(
                session.session_id,
                [Condition(pattern=r"[^ ]again\r\n", regex=True)],
                offset=0,
                timeout=30,
            )
            assert answered.reason == "matched"
            assert any("again" in line for line in (await session.screen()).lines)
            assert (await session.resize(100, 20)).cols == 100
            await session.signal("HUP", target="session")
            assert (await session.wait(timeout=30)).reason == "exited"
            assert (await session.get()).state == "exited"

    run(body)


def test_a_terminal_shows_the_screen_and_then_what_comes(run: Run) -> None:
    async def body(client: Any) -> None:
        async with await client.sessions.create(["sh", "-c", "echo before; cat; echo after"]) as session:
            await session.wait(pattern="before", timeout=30)
            async with client.attach(session.session_id) as terminal:
                assert b"before" in terminal.snapshot
                assert (terminal.cols, terminal.rows, terminal.writer) == (120, 30, True)
                await terminal.send("typed\n")
                seen = b""
                while b"typed" not in seen:
                    seen += await terminal.receive()
                await terminal.resize(90, 20)
                while (await session.get()).cols != 90:
                    pass
                await terminal.send(b"\x04")
                async for data in terminal:
                    seen += data
                assert b"after" in seen
                assert terminal.exited.exit_code == 0

    run(body)


def test_a_terminal_tells_where_commands_are(run: Run) -> None:
    async def body(client: Any) -> None:
        async with await client.sessions.create(["bash"]) as session:
            assert (await session.run("(exit 7)")).exit_code == 7
            async with client.attach(session.session_id, marks=True) as terminal:
                await terminal.send("echo more\n")
                while not terminal.marks:
                    await terminal.receive()
                assert [(one.state, one.exit_code) for one in terminal.marks if one.state == "done"] == [("done", 7)]

    run(body)


def test_a_viewer_leaves(run: Run) -> None:
    async def body(client: Any) -> None:
        async with await client.sessions.create(["cat"]) as session:
            async with client.attach(session.session_id, mode="viewer", cols=80, rows=24) as terminal:
                await terminal.detach()
                assert [data async for data in terminal][1:] == []
                assert terminal.detached.reason == "detached"

    run(body)


def test_files_are_bytes(run: Run, tmp_path: Path) -> None:
    async def body(client: Any) -> None:
        path = tmp_path / "a/b.bin"
        data = bytes(range(256)) * 40_000  # more than one request carries
        written = await client.files.write(path, data, create_parents=True)
        assert path.read_bytes() == data
        assert await client.files.read(str(path)) == data
        assert await client.files.read(path, 250, 10) == data[250:260]
        await client.files.write(path, "text", if_match=written.etag)
        with pytest.raises(EtagMismatch):
            await client.files.write(path, "other", if_match=written.etag)
        await client.files.write(path, b" and more", append=True)
        assert path.read_text() == "text and more"
        page = await client.files.list(path.parent)
        assert [(one.name, one.size, one.is_hidden) for one in page.entries] == [("b.bin", 13, False)]
        assert page.total_count == 1
        assert page.next_page_token is None
        info = await client.files.info(path, checksum="sha256")
        assert info.is_readable
        assert info.modified_at.year > 2000
        assert (await client.files.search(str(tmp_path), pattern="and more")).matches[0].entry.name == "b.bin"
        await client.files.copy(path, tmp_path / "c")
        await client.files.move(tmp_path / "c", tmp_path / "d")
        await client.files.mkdir(tmp_path / "e/f")
        await client.files.delete(tmp_path / "e", recursive=True)
        with pytest.raises(FileNotFound):
            await client.files.read(tmp_path / "e")
        for made in (path, path.parent, tmp_path / "d"):
            assert made.exists()
            await client.files.delete(made, recursive=True, missing_ok=True)

    run(body)


def test_files_go_up_and_down_with_progress(run: Run, tmp_path: Path) -> None:
    async def body(client: Any) -> None:
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(bytes(3_000_001))
        told: list[tuple[int, int]] = []
        stored = await client.files.upload(source, tmp_path / "up", progress=lambda *done: told.append(done))
        assert (stored.size, told[-1]) == (3_000_001, (3_000_001, 3_000_001))
        await client.files.download(tmp_path / "up", target, progress=lambda *done: told.append(done))
        assert target.read_bytes() == source.read_bytes()
        with pytest.raises(FileNotFound):
            await client.files.download(tmp_path / "none", tmp_path / "never")
        assert sorted(name for name in os.listdir(tmp_path) if name != "home") == ["source", "target", "up"]

    run(body)


def test_archives_are_waited_for_with_progress(run: Run, tmp_path: Path) -> None:
    async def body(client: Any) -> None:
        (tmp_path / "tree").mkdir(exist_ok=True)
        (tmp_path / "tree/large").touch()
        os.truncate(tmp_path / "tree/large", 1 << 40)

        class Enough(Exception):
            pass

        def stop(progress: FileProgress) -> None:
            if progress.done_bytes > 0:
                raise Enough

        with pytest.raises(Enough):
            await client.files.archive(tmp_path / "tree", tmp_path / "a.tar", progress=stop)
        while True:
            if not any(".ptybridge-" in name for name in os.listdir(tmp_path)):
                break
            await anyio.sleep(0.01)
        os.truncate(tmp_path / "tree/large", 1000)
        made = await client.files.archive([tmp_path / "tree"], tmp_path / "a.zip")
        assert (made.format, made.files, made.bytes) == ("zip", 1, 1000)
        done = await client.files.extract(tmp_path / "a.zip", tmp_path / "out")
        assert (done.entries, (tmp_path / "out/tree/large").stat().st_size) == (2, 1000)
        with pytest.raises(FileExists):
            await client.files.extract(tmp_path / "a.zip", tmp_path / "out")
        with pytest.raises(Denied, match="switched off"):
            await client.files.fetch("https://192.0.2.1/", tmp_path / "got")
        names = [
            one.entry.name async for one in client.files.find(str(tmp_path), glob="larg*") if hasattr(one, "entry")
        ]
        assert names == ["large", "large"]
        for name in ("a.zip", "out", "tree"):
            await client.files.delete(tmp_path / name, recursive=True)

    run(body)


def test_the_caller_brings_directory_and_environment(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OF_THE_CALLER", "mine")

    async def body(client: Any) -> None:
        result = await client.exec.run('pwd; echo "$OF_THE_CALLER"')
        assert result.stdout.split() == [str(tmp_path), "mine"]
        await client.files.write("relative", b"x")
        assert (tmp_path / "relative").exists()
        result = await client.exec.run(["pwd"], cwd="/", caller_env={})
        assert result.stdout == "/\n"

    run(body)


def test_streams_of_events_and_of_programs(run: Run) -> None:
    async def body(client: Any) -> None:
        async with client.events.follow() as events:
            async with await client.sessions.create(["true"]) as session:
                async for event in events:
                    if event.session_id == session.session_id and type(event).__name__ == "Exited":
                        break
        kinds = [type(one).__name__ async for one in client.exec.stream("echo out; echo err >&2", timeout=30)]
        assert kinds[-1] == "FinishedEvent"
        assert "OutputEvent" in kinds

    run(body)


def test_errors_have_a_code_a_hint_and_say_whether_to_try_again(run: Run) -> None:
    async def body(client: Any) -> None:
        with pytest.raises(SessionNotFound) as caught:
            await client.sessions.get("nowhere")
        assert (caught.value.code, caught.value.retryable) == ("session_not_found", False)
        assert caught.value.hint
        with pytest.raises(InvalidParams):
            await client.sessions.wait("nowhere", [], timeout=-1.0)

    run(body)


# -- what is made -------------------------------------------------------------------------------------------


def test_what_is_made_from_the_contract_is_checked_in() -> None:
    for name, text in describe.made().items():
        assert (describe.HERE / name).read_text(encoding="utf-8") == text, f"{name}: run `make docs`"
    page = Path(__file__).parents[2] / "docs/reference" / reference.FILE
    assert page.read_text(encoding="utf-8") == reference.reference(), "run `make docs`"


def test_every_operation_has_a_method_with_all_its_parameters() -> None:
    asynchronous, blocking = AsyncClient(), Client()
    renamed = {
        "file.write": {"data": "content", "encoding": ""},
        "file.list": {"hidden": "include_hidden", "limit": "page_size", "cursor": "page_token"},
        "file.read": {"max_bytes": "length", "encoding": ""},
        "file.mkdir": {"parents": "create_parents"},
        "file.upload": {"upload_id": ""},
        "file.download": {"offset": "", "if_match": ""},
        "session.attach": {"client_id": ""},
    }
    for operation in contract():
        if operation.name in describe.LEFT_OUT:
            continue
        noun, _, verb = operation.name.partition(".")
        space = describe.namespace(noun)
        method = blocking.attach if verb == "attach" else getattr(getattr(blocking, space), verb)
        twin = asynchronous.attach if verb == "attach" else getattr(getattr(asynchronous, space), verb)
        names = list(inspect.signature(method).parameters)
        assert names == list(inspect.signature(twin).parameters)
        for field in msgspec.structs.fields(operation.params):
            name = renamed.get(operation.name, {}).get(field.encode_name, describe.python_name(field.encode_name))
            assert not name or name in names, (operation.name, name)
