"""What the shared session's service does when the disk refuses, and when the program ends at once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from ptybridge import config
from ptybridge.api import share as api
from ptybridge.errors import Unavailable
from ptybridge.model import Caller, ExitStatus
from ptybridge.service.share import ShareService


class NoSessions:
    """There are none."""

    def all(self) -> list[Any]:
        return []


def serving(note: Path) -> ShareService:
    settings = config.Serve(command="cat", public=True)
    return ShareService(cast(Any, NoSessions()), cast(Any, None), settings, note)


def test_what_cannot_be_noted_is_served_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    share = serving(in_the_way / "serve.json")
    share.remember()
    assert "cannot be noted" in caplog.text
    assert share.public
    share.forget()
    assert "cannot be removed" in caplog.text


def test_what_was_noted_is_served_by_the_next(tmp_path: Path) -> None:
    note = tmp_path / "serve.json"
    serving(note).remember()
    found = ShareService(cast(Any, NoSessions()), cast(Any, None), config.Serve(), note)
    assert found.settings == config.Serve(command="cat", public=True)
    found.forget()
    assert not note.exists()


class EndedAtOnce:
    """What they start has ended when they tell of it."""

    async def create(self, *_: object) -> Any:
        exited = trio.Event()
        exited.set()
        await trio.lowlevel.checkpoint()
        return SimpleNamespace(
            session_id="s1", status=ExitStatus(code=7), exit_reason="exited", exited=exited, clients=0,
            limits=SimpleNamespace(max_clients=None), child=SimpleNamespace(backend="pty"),
        )  # fmt: skip

    def running(self) -> list[Any]:
        return []


async def test_what_is_served_once_ends_the_daemon_however_soon_it_has_ended(tmp_path: Path) -> None:
    ended: list[int] = []
    settings = config.Serve(command="exit 7", public=True, once=True)
    share = ShareService(
        cast(Any, EndedAtOnce()), cast(Any, None), settings, tmp_path / "serve.json", stop=ended.append
    )
    caller = Caller(principal="uid:0", connection_id="c1")
    async with trio.open_nursery() as nursery:
        await nursery.start(share.run)
        assert (await share.join(caller, api.JoinShare())).started
        with pytest.raises(Unavailable, match="served once"):
            await share.join(caller, api.JoinShare())
    assert ended == [7]
