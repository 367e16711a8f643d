"""Files as bodies: up and down, in parts, checked, and in constant memory."""

import base64
import hashlib
import os
import resource
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio
from tests.web.conftest import Connect, OpenGate
from tests.web.http import Http, eventually

from ptybridge.daemon import Daemon
from ptybridge.service import transfer

MIB = 1024 * 1024


@pytest.fixture
def gate() -> Any:
    return OpenGate


def url(path: Path, **query: str) -> str:
    more = "".join(f"&{name}={quote(value)}" for name, value in query.items())
    return f"/v1/files/content?path={quote(str(path))}{more}"


def digest(data: bytes) -> tuple[str, str]:
    return "repr-digest", f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


async def test_what_goes_up_comes_down(http: Http, tmp_path: Path) -> None:
    data = os.urandom(3 * MIB + 17)
    path = tmp_path / "ein wörter.bin"
    stored = await http.request("PUT", url(path), [digest(data)], data)
    assert (stored.status, stored.json()["size"]) == (200, len(data))
    assert path.read_bytes() == data
    came = await http.get(url(path))
    assert (came.status, came.body) == (200, data)
    assert came.headers["etag"] == stored.headers["etag"]
    assert came.headers["content-type"] == "application/octet-stream"
    assert came.headers["content-disposition"].endswith("ein%20w%C3%B6rter.bin")


@pytest.mark.parametrize("data", [b"", b"x"])
async def test_the_smallest_files(http: Http, tmp_path: Path, data: bytes) -> None:
    assert (await http.request("PUT", url(tmp_path / "f"), body=data)).status == 200
    assert (await http.get(url(tmp_path / "f"))).body == data


async def test_a_download_goes_on_where_it_was(http: Http, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    rest = await http.get(url(tmp_path / "f"), [("range", "bytes=4-")])
    assert (rest.status, rest.body, rest.headers["content-range"]) == (206, b"456789", "bytes 4-9/10")
    changed = await http.get(url(tmp_path / "f"), [("range", "bytes=4-"), ("if-match", '"other"')])
    assert changed.status == 412
    assert (await http.get(url(tmp_path / "f"), [("range", "bytes=1-2,5-6")])).status == 400


async def test_an_upload_goes_on_where_it_was(connect: Connect, tmp_path: Path) -> None:
    data = os.urandom(2 * MIB)
    path = tmp_path / "f"
    http = await connect()
    put = f"PUT {url(path, upload_id='0123456789ab')} HTTP/1.1"
    head = f"{put}\r\nhost: {http.host}\r\ncontent-length: {len(data)}\r\n\r\n"
    await http.stream.send_all(head.encode() + data[:MIB])
    await eventually(lambda: sum(f.stat().st_size for f in tmp_path.iterdir() if f.is_file()) == MIB)
    await http.stream.aclose()
    http = await connect()
    # The daemon may take a moment to see that the first one has gone.
    while True:
        told = await http.request("PUT", url(path, upload_id="0123456789ab"), body=b"x")
        if told.json()["error"]["code"] != "transfer_running":
            break
        http = await connect()
    assert (told.status, told.json()["error"]["data"]) == (409, {"offset": MIB})
    http = await connect()
    part = [("content-range", f"bytes {MIB}-{len(data) - 1}/{len(data)}"), digest(data)]
    assert (await http.request("PUT", url(path, upload_id="0123456789ab"), part, data[MIB:])).status == 200
    assert path.read_bytes() == data


async def test_what_is_not_what_was_sent_is_thrown_away(http: Http, tmp_path: Path) -> None:
    refused = await http.request("PUT", url(tmp_path / "f"), [digest(b"other")], b"this")
    assert refused.json()["error"]["code"] == "checksum_mismatch"
    assert not (tmp_path / "f").exists()


async def test_an_upload_that_breaks_off_leaves_nothing(connect: Connect, daemon: Daemon, tmp_path: Path) -> None:
    http = await connect()
    target = tmp_path / "dir" / "f"
    target.parent.mkdir()
    await http.stream.send_all(
        f"PUT {url(target)} HTTP/1.1\r\nhost: {http.host}\r\ncontent-length: 1000\r\n\r\nhalf".encode()
    )
    await eventually(lambda: list(target.parent.iterdir()))
    await http.stream.aclose()
    await eventually(lambda: not list(target.parent.iterdir()))


async def test_errors_are_json(http: Http, tmp_path: Path) -> None:
    missing = await http.get(url(tmp_path / "nothing"))
    assert (missing.status, missing.json()["error"]["code"]) == (404, "file_not_found")
    assert (await http.get("/v1/files/content")).status == 400


async def test_200_mb_into_a_handler_that_sleeps_stay_outside(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep, wake = trio.Event(), trio.Event()
    real = transfer.TransferService._take

    async def sleep(self: Any, partial: Any, channel: Any) -> None:
        asleep.set()
        await wake.wait()
        await real(self, partial, channel)

    monkeypatch.setattr(transfer.TransferService, "_take", sleep)
    http = await connect()
    size, piece = 200 * MIB, bytes(MIB)
    head = f"PUT {url(tmp_path / 'f')} HTTP/1.1\r\nhost: {http.host}\r\ncontent-length: {size}\r\n\r\n"
    await http.stream.send_all(head.encode())
    await asleep.wait()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent = 0
    with trio.move_on_after(2):  # as much as ever goes: socket buffers and a few messages
        while True:
            await http.stream.send_all(piece)
            sent += MIB
    assert sent < 32 * MIB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024
    wake.set()
