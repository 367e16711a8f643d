"""`file.fetch` over every endpoint: all of the file or nothing, and off unless it is allowed."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.contract.endpoints import PATIENCE_SECONDS, Client
from tests.contract.test_archive import run
from tests.fileserver import DATA, serving

from ptybridge import config
from ptybridge.api import fetch
from ptybridge.errors import ChecksumMismatch, Denied, FetchFailed, FileExists, FileTooLarge, InvalidParams

DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=[True])
def files(request: pytest.FixtureRequest) -> config.Files:
    return config.Files(fetch=request.param)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "files"
    path.mkdir()
    return path


@pytest.fixture
def url() -> Iterator[str]:
    with serving() as port:
        yield f"http://127.0.0.1:{port}"


async def get(client: Client, url: str, path: Path, **params: Any) -> Any:
    return await run(client, fetch.FETCH, url=url, path=str(path), **params)


async def test_a_url_becomes_a_file(client: Client, place: Path, url: str) -> None:
    done = await get(client, f"{url}/to?/file", place / "x" / "f", create_parents=True, mode="0600", sha256=DIGEST)
    assert (done.path, done.url, done.size, done.sha256) == (str(place / "x/f"), f"{url}/file", len(DATA), DIGEST)
    assert done.content_type == "application/x-test"
    assert (place / "x/f").read_bytes() == DATA
    assert (place / "x/f").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExists):
        await get(client, f"{url}/file", place / "x/f")


async def test_what_fails_leaves_nothing(client: Client, place: Path, url: str) -> None:
    (place / "f").write_text("old")
    port = url.rpartition(":")[2]
    failures: list[tuple[str, dict[str, Any], type[Exception]]] = [
        (f"{url}/none", {}, FetchFailed),
        (f"{url}/short", {}, FetchFailed),
        (f"{url}/endless", {"max_bytes": 1 << 20}, FileTooLarge),
        (f"{url}/file", {"max_bytes": 1000}, FileTooLarge),
        (f"{url}/file", {"sha256": "0" * 64}, ChecksumMismatch),
        (f"{url}/silent", {"timeout_ms": 200}, FetchFailed),
        (f"{url}/to?{url}/to", {}, FetchFailed),
        (f"https://127.0.0.1:{port}/file", {}, FetchFailed),
        (f"{url}/to?file:///etc/passwd", {}, InvalidParams),
        ("file:///etc/passwd", {}, InvalidParams),
        ("ftp://127.0.0.1/x", {}, InvalidParams),
        ("http://user:word@127.0.0.1/x", {}, InvalidParams),
        ("http:///x", {}, InvalidParams),
        ("http://127.0.0.1:99999/x", {}, InvalidParams),
    ]
    for wrong, params, kind in failures:
        with pytest.raises(kind):
            await get(client, wrong, place / "f", overwrite=True, **params)
    assert os.listdir(place) == ["f"]
    assert (place / "f").read_text() == "old"


@pytest.mark.parametrize("what", ["endless", "silent"])
async def test_a_cancelled_fetch_ends_at_once_and_leaves_nothing(
    client: Client, place: Path, url: str, what: str
) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with client.stream(fetch.FETCH, url=f"{url}/{what}", path=str(place / "f")) as stream:
            await stream.next()
        while True:
            if not os.listdir(place):
                return
            await trio.sleep(0.01)


@pytest.mark.parametrize("files", [False], indirect=True)
async def test_it_is_off_unless_it_is_allowed(client: Client, place: Path, url: str) -> None:
    with pytest.raises(Denied, match="switched off"):
        await get(client, f"{url}/file", place / "f")
    assert not os.listdir(place)
