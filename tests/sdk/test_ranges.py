"""Ranges and paths, whatever they are: reading, sending and getting from any place gives exactly those bytes."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sdk.conftest import Node

from ptybridge import Client
from ptybridge.api import file, transfer
from ptybridge.errors import ConnectionLost, TransferRunning
from ptybridge.sdk.sync import transfers
from ptybridge.sdk.sync.connection import Frames
from ptybridge.wire import attach as frames

ANY = settings(max_examples=40)
DATA = st.binary(max_size=2000)
OFFSET = st.integers(min_value=0, max_value=2500)
# Characters of one to four bytes, and bytes that are none.
TEXT = st.lists(st.sampled_from([b"a", "ä".encode(), "€".encode(), "🙂".encode(), b"\xff", b"\xe2\x82"]), max_size=40)


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    with Client.local(socket=node.socket, start=False) as made:
        yield made


@ANY
@given(data=DATA, offset=OFFSET, length=st.integers(min_value=0, max_value=2500))
def test_a_range_of_a_file(client: Client, tmp_path: Path, data: bytes, offset: int, length: int) -> None:
    (tmp_path / "f").write_bytes(data)
    wanted = data[offset : offset + length] if length else data[offset:]
    assert client.files.read(tmp_path / "f", offset, length) == wanted


@ANY
@given(pieces=TEXT, size=st.integers(min_value=1, max_value=9))
def test_text_in_pieces_of_any_size_is_the_text(client: Client, tmp_path: Path, pieces: list[bytes], size: int) -> None:
    data = b"".join(pieces)
    (tmp_path / "f").write_bytes(data)
    found, offset = "", 0
    while True:
        part = client.call(file.READ, path=str(tmp_path / "f"), offset=offset, max_bytes=size)
        assert part.offset == offset
        found, offset = found + part.data, part.next_offset
        if part.eof:
            break
    assert offset == len(data)
    assert found == data.decode("utf-8", "replace")


@ANY
@given(data=DATA, cuts=st.lists(OFFSET, max_size=4))
def test_an_upload_that_is_cut_off_anywhere_goes_on_there(
    client: Client, tmp_path: Path, data: bytes, cuts: list[int]
) -> None:
    target = tmp_path / "up"
    target.unlink(missing_ok=True)
    params = transfer.Upload(path=str(target), upload_id=uuid4().hex[:16])
    sent = 0
    for end in sorted({min(cut, len(data)) for cut in cuts}):
        answer, channel = _opened(client, params)
        assert answer.offset == sent
        if end > sent:
            channel.send(frames.data_head(sent, end - sent), data[sent:end])
        # It is answered when what came before it has been taken.
        channel.send(frames.encode(frames.Ping()))
        while not isinstance(channel.next(), frames.Pong):
            pass
        channel.close()
        sent = end
        assert not target.exists()
    answer, channel = _opened(client, params)
    assert answer.offset == sent
    channel.send(frames.data_head(sent, len(data) - sent), data[sent:])
    channel.send(frames.encode(frames.Finish(size=len(data), sha256=hashlib.sha256(data).hexdigest())))
    while not isinstance(channel.next(), frames.Stored):
        pass
    channel.close()
    assert target.read_bytes() == data
    assert not any("ptybridge" in name for name in os.listdir(tmp_path))


@ANY
@given(data=DATA.filter(bool), part=st.floats(min_value=0, max_value=1))
def test_a_download_goes_on_from_anywhere(client: Client, tmp_path: Path, data: bytes, part: float) -> None:
    (tmp_path / "f").write_bytes(data)
    have = int(len(data) * part)
    with (tmp_path / "down").open("w+b") as target:
        target.write(data[:have])
        target.flush()
        transfers.download(client._link, target.fileno(), transfer.Download(path=str(tmp_path / "f"), offset=have))
    assert (tmp_path / "down").read_bytes() == data


@ANY
@given(steps=st.lists(st.sampled_from(["a", "b", ".", "", "a/b"]), min_size=1, max_size=8))
def test_a_path_is_the_entry_the_system_means(client: Client, tmp_path: Path, steps: list[str]) -> None:
    path = "/".join(steps)
    if os.path.isabs(path) or not path:
        path = f"./{path}"
    where = tmp_path / path
    where.mkdir(parents=True, exist_ok=True)
    found = client.files.info(path, cwd=str(tmp_path))
    assert os.path.samefile(found.path, where)
    assert found.type == "directory"


def _opened(client: Client, params: transfer.Upload) -> tuple[transfer.Uploading, Frames]:
    """Open an upload; the part is locked until the daemon has noticed that the connection before is gone."""
    while True:
        try:
            return client._link.open(transfer.UPLOAD, params)
        except TransferRunning:
            continue


def test_an_upload_waits_until_the_daemon_has_noticed_that_it_was_cut_off(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = transfer.Upload(path=str(tmp_path / "up"), upload_id=uuid4().hex[:16])
    _, before = _opened(client, params)
    tries: list[int] = []
    run = transfers._Sending.run

    def cut_off_first(sending: transfers._Sending) -> frames.Stored:
        tries.append(len(tries))
        if len(tries) == 1:
            raise ConnectionLost("cut off")
        if len(tries) == 4:
            before.close()
        return run(sending)

    monkeypatch.setattr(transfers._Sending, "run", cut_off_first)
    (tmp_path / "source").write_bytes(b"data")
    with (tmp_path / "source").open("rb") as source:
        assert transfers.upload(client._link, source.fileno(), params).size == 4
    assert len(tries) >= 4
    tries += [0] * 4
    # What somebody else sends is not waited for.
    _, before = _opened(client, params)
    with (tmp_path / "source").open("rb") as source:
        number = source.fileno()
        with pytest.raises(TransferRunning):
            transfers.upload(client._link, number, params)
    before.close()
