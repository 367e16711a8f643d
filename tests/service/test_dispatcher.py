"""What comes of what handlers raise."""

import logging

import msgspec
import pytest
import trio

from ptybridge.api import attach
from ptybridge.api.registry import Registry
from ptybridge.errors import InternalError
from ptybridge.model import Caller
from ptybridge.service.dispatcher import Dispatcher, handles

CALLER = Caller(principal="uid:0", scopes=frozenset({"*"}), connection_id="c")


class _Ends:
    def __init__(self, error: Exception) -> None:
        self.error = error

    @handles(attach.ATTACH)
    async def attach(self, caller: Caller, params: attach.Attach, channel: object) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise self.error


async def open_one(error: Exception) -> None:
    dispatcher = Dispatcher(Registry([attach.ATTACH]), [_Ends(error)])
    params = msgspec.Raw(b'{"session_id": "s", "rows": 24, "cols": 80}')
    await dispatcher.open(CALLER, "session.attach", params, channel=None)  # type: ignore[arg-type]


async def test_a_peer_that_goes_away_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await open_one(trio.BrokenResourceError("the peer is gone"))
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_anything_else_is(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InternalError, match="a defect in ptybridge"):
        await open_one(ValueError("x"))
    assert [one.message for one in caplog.records if one.levelno >= logging.ERROR] == ["session.attach failed"]
