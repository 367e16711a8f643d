"""`file.upload` and `file.download` over every endpoint: offsets, credit, checksums, and what is left of failures."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.contract.endpoints import PATIENCE_SECONDS, Client, Link

from ptybridge.api import transfer
from ptybridge.daemon import Daemon
from ptybridge.errors import (
    EtagMismatch,
    FileExists,
    FileFailed,
    FileNotFound,
    InvalidParams,
    IsADirectory,
    NotAFile,
    PtybridgeError,
    TransferRunning,
)
from ptybridge.wire import attach as frames

DATA = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "files"
    path.mkdir()
    return path


async def send(link: Link, data: bytes, start: int, stop: int) -> None:
    """Send a range and wait until it is acknowledged."""
    for at in range(start, stop, 100_000):
        await link.send(frames.Data(at, data[at : min(at + 100_000, stop)]))
    while True:
        ack = await link.next_of(frames.Ack)
        if ack.offset == stop:
            return


async def test_up(client: Client, place: Path) -> None:
    target = place / "x" / "up"
    async with client.channel(transfer.UPLOAD, path=str(target), create_parents=True, mode="0640") as link:
        assert (link.opened.offset, link.opened.path) == (0, str(target))
        await send(link, DATA, 0, len(DATA))
        assert not target.exists()
        await link.send(frames.Finish(size=len(DATA), sha256=DIGEST))
        stored = await link.next_of(frames.Stored)
        assert (stored.path, stored.size, stored.sha256) == (str(target), len(DATA), DIGEST)
    assert target.read_bytes() == DATA
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert os.listdir(target.parent) == ["up"]


async def test_an_empty_file(client: Client, place: Path) -> None:
    nothing = hashlib.sha256().hexdigest()
    async with client.channel(transfer.UPLOAD, path=str(place / "empty")) as link:
        await link.send(frames.Finish(size=0, sha256=nothing))
        await link.next_of(frames.Stored)
    async with client.channel(transfer.DOWNLOAD, path=str(place / "empty")) as link:
        assert await link.next() == frames.Finish(size=0, sha256=nothing)


async def test_what_was_cut_off_goes_on_where_it_was(client: Client, place: Path) -> None:
    target = place / "up"
    target.write_text("old")
    params = {"path": str(target), "upload_id": "0123456789abcdef"}
    async with client.channel(transfer.UPLOAD, **params) as link:
        await send(link, DATA, 0, 300_000)
        with pytest.raises(TransferRunning):
            async with client.channel(transfer.UPLOAD, **params):
                pass
    assert target.read_text() == "old"
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            try:
                async with client.channel(transfer.UPLOAD, **params) as link:
                    assert link.opened.offset == 300_000
                    await send(link, DATA, 300_000, len(DATA))
                    await link.send(frames.Finish(size=len(DATA), sha256=DIGEST))
                    await link.next_of(frames.Stored)
                break
            except TransferRunning:
                await trio.sleep(0.01)  # the daemon has not noticed yet that the first one is gone
    assert target.read_bytes() == DATA
    assert os.listdir(place) == ["up"]


async def test_what_was_damaged_on_the_way_is_thrown_away(client: Client, place: Path) -> None:
    (place / "up").write_text("old")
    async with client.channel(transfer.UPLOAD, path=str(place / "up")) as link:
        await send(link, DATA, 0, 100_000)
        await link.send(frames.Finish(size=100_000, sha256=DIGEST))
        error = await link.next_of(frames.Error)
        assert error.code == "checksum_mismatch"
        with pytest.raises(EOFError):
            await link.next()
    assert (place / "up").read_text() == "old"
    assert os.listdir(place) == ["up"]


async def test_bytes_out_of_order_and_wrong_sizes_are_refused(client: Client, place: Path) -> None:
    async with client.channel(transfer.UPLOAD, path=str(place / "up")) as link:
        await link.send(frames.Data(5, b"x"))
        assert (await link.next_of(frames.Error)).code == "invalid_params"
    async with client.channel(transfer.UPLOAD, path=str(place / "up2")) as link:
        await link.send(frames.Finish(size=5, sha256=DIGEST))
        assert (await link.next_of(frames.Error)).code == "invalid_params"
    async with client.channel(transfer.UPLOAD, path=str(place / "up3")) as link:
        await link.send(frames.Data(0, b"x"), frames.Detach())
        with pytest.raises(EOFError):
            await link.next_of(frames.Error)
    assert not (place / "up").exists()
    assert [one for one in os.listdir(place) if "up3" in one] == []


async def test_what_cannot_be_written_is_refused_before_anything_is_sent(client: Client, place: Path) -> None:
    (place / "d").mkdir()
    (place / "f").write_text("old")
    os.mkfifo(place / "fifo")
    cases: list[tuple[dict[str, Any], type[PtybridgeError]]] = [
        ({"path": f"{place}/d"}, IsADirectory),
        ({"path": f"{place}/none/f"}, FileNotFound),
        ({"path": f"{place}/fifo"}, NotAFile),
        ({"path": f"{place}/f", "overwrite": False}, FileExists),
        ({"path": f"{place}/f", "if_match": "another"}, EtagMismatch),
        ({"path": f"{place}/f", "upload_id": "../../x"}, InvalidParams),
    ]
    for params, kind in cases:
        with pytest.raises(kind):
            async with client.channel(transfer.UPLOAD, **params):
                pass
    assert sorted(os.listdir(place)) == ["d", "f", "fifo"]


async def test_a_file_that_appears_meanwhile_is_not_overwritten(client: Client, place: Path) -> None:
    async with client.channel(transfer.UPLOAD, path=str(place / "up"), overwrite=False) as link:
        await send(link, DATA, 0, 1000)
        (place / "up").write_text("somebody else's")
        await link.send(frames.Finish(size=1000, sha256=hashlib.sha256(DATA[:1000]).hexdigest()))
        assert (await link.next_of(frames.Error)).code == "file_exists"
    assert (place / "up").read_text() == "somebody else's"


async def receive(link: Link) -> tuple[bytes, frames.Finish]:
    """Take everything, acknowledging it."""
    data = b""
    while True:
        frame = await link.next()
        if isinstance(frame, frames.Finish):
            return data, frame
        assert isinstance(frame, frames.Data)
        data += frame.data
        await link.send(frames.Ack(frame.offset + len(frame.data)))


async def test_down_and_down_again_from_the_middle(client: Client, place: Path) -> None:
    (place / "f").write_bytes(DATA)
    async with client.channel(transfer.DOWNLOAD, path=str(place / "f")) as link:
        etag = link.opened.etag
        assert (link.opened.size, link.opened.offset) == (len(DATA), 0)
        assert await receive(link) == (DATA, frames.Finish(size=len(DATA), sha256=DIGEST))
    async with client.channel(transfer.DOWNLOAD, path=str(place / "f"), offset=70_001, if_match=etag) as link:
        assert await receive(link) == (DATA[70_001:], frames.Finish(size=len(DATA), sha256=DIGEST))
    (place / "f").write_bytes(DATA[:-1])
    with pytest.raises(EtagMismatch):
        async with client.channel(transfer.DOWNLOAD, path=str(place / "f"), offset=70_001, if_match=etag):
            pass
    with pytest.raises(InvalidParams, match="beyond"):
        async with client.channel(transfer.DOWNLOAD, path=str(place / "f"), offset=len(DATA)):
            pass
    with pytest.raises(FileFailed, match="how large"):
        async with client.channel(transfer.DOWNLOAD, path="/proc/self/status"):
            pass


async def test_nothing_is_sent_beyond_the_window(client: Client, place: Path) -> None:
    with (place / "f").open("wb") as big:
        big.truncate(64 << 20)
    async with client.channel(transfer.DOWNLOAD, path=str(place / "f")) as link:
        window = link.opened.window_bytes
        got = 0
        while got < window:
            got += len((await link.next_of(frames.Data)).data)
        await link.in_step()
        assert not any(isinstance(one, frames.Data) for one in link.ready)
        await link.send(frames.Ack(got))
        await link.next_of(frames.Data)


async def test_a_file_that_changes_while_it_is_read_is_told(client: Client, place: Path) -> None:
    with (place / "f").open("wb") as big:
        big.truncate(16 << 20)
    async with client.channel(transfer.DOWNLOAD, path=str(place / "f")) as link:
        got, acknowledged = len((await link.next_of(frames.Data)).data), 0
        os.truncate(place / "f", 5 << 20)
        while True:
            # Only while the daemon waits for it: an acknowledgement to one that has closed is an error of its own.
            if got - acknowledged >= link.opened.window_bytes:
                acknowledged = got
                await link.send(frames.Ack(got))
            frame = await link.next()
            if isinstance(frame, frames.Error):
                assert frame.code == "etag_mismatch"
                break
            assert isinstance(frame, frames.Data)
            got += len(frame.data)


async def test_a_part_that_nobody_resumes_is_deleted_when_it_is_old(
    client: Client, daemon: Daemon, place: Path
) -> None:
    async with client.channel(transfer.UPLOAD, path=str(place / "up")) as link:
        await send(link, DATA, 0, 100_000)
    left = [place / one for one in os.listdir(place)]
    assert len(left) == 1
    daemon._leftovers.clean()
    assert left[0].exists()
    os.utime(left[0], (1, 1))
    with trio.fail_after(PATIENCE_SECONDS):
        # The daemon holds it until it has noticed that the client is gone.
        while True:
            daemon._leftovers.clean()
            if not left[0].exists():
                return
            await trio.sleep(0.01)
