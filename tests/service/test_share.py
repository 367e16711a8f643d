"""What the shared session's service does when the disk refuses."""

from pathlib import Path
from typing import Any, cast

import pytest

from ptybridge import config
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
