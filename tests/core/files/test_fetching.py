"""Where confined callers may fetch from: public addresses, whatever names and redirects lead there."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fileserver import DATA, serving

from ptybridge.core.files.fetching import Fetch, is_public
from ptybridge.errors import Denied, FetchFailed


def go_on() -> None:
    """Nobody cancels here."""


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
     "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "fd00:ec2::254"],
)  # fmt: skip
def test_s30_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


def get(url: str, allowed: Callable[[str], bool], path: Path) -> bytes:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        Fetch(url, allowed=allowed, most=1 << 30, within=30.0, sha256=None, check=go_on).fill(fd)
    finally:
        os.close(fd)
    return path.read_bytes()


def test_s30_neither_names_nor_redirects_lead_a_confined_caller_inside(tmp_path: Path) -> None:
    with serving() as port:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0"):
            with pytest.raises((Denied, FetchFailed)):
                get(f"http://{host}:{port}/file", is_public, tmp_path / "f")
        first = f"http://127.0.0.1:{port}"
        assert get(f"{first}/to?{first}/file", "127.0.0.1".__eq__, tmp_path / "f") == DATA
        with pytest.raises(Denied, match=r"127\.0\.0\.2"):
            get(f"{first}/to?http://127.0.0.2:{port}/file", "127.0.0.1".__eq__, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b""
