"""`session.screen` and `session.resize`: the picture as of an exact offset, and who decides its size."""

import pytest
import trio
from tests.contract.endpoints import Client
from tests.contract.programs import PATIENCE_MS, exited, script, start, until

from ptybridge.api import session, terminal
from ptybridge.errors import Conflict, InvalidParams, SessionExited
from ptybridge.wire import attach as frames


async def shown(client: Client, text: str, **params: object) -> tuple[str, terminal.ScreenPicture]:
    """Run a script, and look at the screen once it has printed "END"."""
    session_id = await script(client, text + "; printf END; exec sleep 1000", **params)
    await until(client, session_id, "END")
    return session_id, await client.call(terminal.SCREEN, session_id=session_id)


async def test_the_grid_cursor_and_size(client: Client) -> None:
    session_id, screen = await shown(client, r"printf 'one\n\033[3;5Hx '", rows=5, cols=20)
    assert screen.lines == ["one", "", "    x END", "", ""]
    assert screen.cursor == terminal.Cursor(row=2, col=9, visible=True)
    assert (screen.rows, screen.cols, screen.alternate) == (5, 20, False)
    assert screen.scrollback == []
    assert screen.offset == (await client.call(session.GET, session_id=session_id)).end_offset


async def test_the_alternate_screen_title_and_hidden_cursor(client: Client) -> None:
    session_id = await script(
        client,
        r"printf 'primary\033]2;The Title\007\033[?1049h\033[H\033[?25lalt'; read x; "
        r"printf '\033[?1049l\033[?25hback'; read x",
        rows=4,
        cols=30,
    )
    await until(client, session_id, "alt")
    screen = await client.call(terminal.SCREEN, session_id=session_id)
    assert (screen.lines[0], screen.title, screen.alternate) == ("alt", "The Title", True)
    assert not screen.cursor.visible
    await client.call(terminal.WRITE, session_id=session_id, data="\n")
    await until(client, session_id, "back")
    screen = await client.call(terminal.SCREEN, session_id=session_id)
    assert screen.lines[0] == "primaryback"
    assert (screen.alternate, screen.cursor.visible) == (False, True)


async def test_scrollback_is_the_newest_lines_above_the_grid(client: Client) -> None:
    session_id, screen = await shown(client, "seq 1 20", rows=5, cols=20)
    assert screen.lines == ["17", "18", "19", "20", "END"]
    asked = await client.call(terminal.SCREEN, session_id=session_id, scrollback_lines=3)
    assert asked.scrollback == ["14", "15", "16"]
    everything = await client.call(terminal.SCREEN, session_id=session_id, scrollback_lines=1000)
    assert everything.scrollback == [str(n) for n in range(1, 17)]


async def test_formats(client: Client) -> None:
    session_id, _ = await shown(client, r"printf '\033[1;31m<red>&\033[0m'", rows=3, cols=20)
    ansi = await client.call(terminal.SCREEN, session_id=session_id, format="ansi")
    assert "<red>&" in ansi.lines[0]
    assert "\x1b[" in ansi.lines[0]
    html = await client.call(terminal.SCREEN, session_id=session_id, format="html")
    assert "&lt;red&gt;&amp;" in html.lines[0]
    assert "\x1b" not in html.lines[0]
    with pytest.raises(InvalidParams):
        await client.call_raw("session.screen", {"session_id": session_id, "format": "pdf"})


async def test_s24_html_escapes_what_programs_print(client: Client) -> None:
    session_id, _ = await shown(
        client, r"""printf '<script>alert(1)</script>\033]8;;javascript:x\007link\033]8;;\007'"""
    )
    html = await client.call(terminal.SCREEN, session_id=session_id, format="html")
    text = "\n".join(html.lines)
    assert "<script" not in text
    assert 'href="javascript' not in text


async def test_a_pipes_session_has_a_screen_too(client: Client) -> None:
    session_id = await start(client, "printf", "one\ntwo\n", backend="pipes")
    await exited(client, session_id)
    screen = await client.call(terminal.SCREEN, session_id=session_id)
    assert screen.lines[:3] == ["one", "two", ""]


async def test_the_screen_is_exact_after_a_flood(client: Client) -> None:
    _, screen = await shown(client, "seq 1 30000", rows=4, cols=20, max_output_bytes=65536)
    assert screen.lines == ["29998", "29999", "30000", "END"]


# -- resize --------------------------------------------------------------------------------------------------

WINCH = "trap 'stty size' WINCH; echo up; while :; do sleep 0.02; done"


async def test_r11_the_program_sees_every_size_it_is_given(client: Client) -> None:
    session_id = await script(client, WINCH)
    await until(client, session_id, "up\r\n")
    size = await client.call(session.RESIZE, session_id=session_id, rows=41, cols=99)
    assert size == session.Size(rows=41, cols=99, window_size_policy="latest")
    await until(client, session_id, "41 99\r\n")
    size = await client.call(session.RESIZE, session_id=session_id, cols=50)
    assert (size.rows, size.cols) == (41, 50)
    await until(client, session_id, "41 50\r\n")
    size = await client.call(session.RESIZE, session_id=session_id, rows=1, cols=1)
    await until(client, session_id, "1 1\r\n")
    screen = await client.call(terminal.SCREEN, session_id=session_id)
    assert (screen.rows, screen.cols) == (1, 1)
    info = await client.call(session.GET, session_id=session_id)
    assert (info.rows, info.cols) == (1, 1)


@pytest.mark.parametrize(
    "params", [{}, {"rows": 0}, {"cols": 0}, {"cols": 65535}, {"rows": 70000}, {"policy": "widest"}, {"rows": -5}]
)
async def test_r11_impossible_sizes_are_refused(client: Client, params: dict[str, object]) -> None:
    session_id = await start(client, "cat")
    with pytest.raises(InvalidParams):
        await client.call_raw("session.resize", {"session_id": session_id} | params)
    info = await client.call(session.GET, session_id=session_id)
    assert (info.rows, info.cols) == (30, 120)


async def test_r11_a_size_after_the_exit_is_refused_and_harmless(client: Client) -> None:
    session_id = await script(client, "exit 0")
    await exited(client, session_id)
    with pytest.raises(SessionExited):
        await client.call(session.RESIZE, session_id=session_id, rows=5, cols=5)
    assert (await client.call(session.RESIZE, session_id=session_id, policy="manual")).rows == 30


async def test_r11_policies_follow_the_attached_windows_and_forget_those_who_left(client: Client) -> None:
    session_id = await start(client, "cat", rows=30, cols=100)

    async def size() -> tuple[int, int]:
        info = await client.call(session.GET, session_id=session_id)
        return info.rows, info.cols

    async with client.attach(session_id=session_id, rows=20, cols=80) as small:
        assert await size() == (20, 80)
        async with client.attach(session_id=session_id, rows=50, cols=60) as tall:
            assert await size() == (50, 60)
            # The latest is who did something last.
            await small.write("x")
            await small.in_step()
            assert await size() == (20, 80)
            await client.call(session.RESIZE, session_id=session_id, policy="smallest")
            assert await size() == (20, 60)
            await client.call(session.RESIZE, session_id=session_id, policy="largest")
            assert await size() == (50, 80)
            with pytest.raises(Conflict, match="largest"):
                await client.call(session.RESIZE, session_id=session_id, rows=10, cols=10)
            await client.call(session.RESIZE, session_id=session_id, policy="manual", rows=10, cols=11)
            assert await size() == (10, 11)
            await tall.send(frames.Resize(rows=33, cols=33))
            await tall.in_step()
            assert await size() == (10, 11)
            await client.call(session.RESIZE, session_id=session_id, policy="latest")
            assert await size() == (33, 33)
            await tall.send(frames.Detach())
            await tall.next_of(frames.Detached)
        with trio.fail_after(PATIENCE_MS / 1000):
            while await size() != (20, 80):  # noqa: ASYNC110 - the detached event is for those who follow events
                await trio.sleep(0.002)
