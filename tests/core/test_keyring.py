"""Keys and logins: what proves them, how they end, and the file they lie in."""
# ruff: noqa: ASYNC240 - files of a few hundred bytes

import fcntl
import os
import stat
from pathlib import Path

import pytest
import trio

from ptybridge.core import eventlog
from ptybridge.core import keyring as module
from ptybridge.core.keyring import Keyring
from ptybridge.errors import ConfigInvalid, Conflict, KeyNotFound, NameTaken


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "keys.json"


async def test_a_key_is_found_by_its_value_alone(path: Path) -> None:
    keyring = Keyring(path)
    key, value = await keyring.create_key("ci", "full")
    assert keyring.find(value) is not None
    wrong = ("", "ptb_", value[:-1], value + "x", value.upper(), "ptb_" + "A" * 43, "\ud800", key.grant_id, key.name)
    assert [keyring.find(one) for one in wrong] == [None] * len(wrong)


async def test_s08_keys_are_long_random_and_never_at_rest(path: Path) -> None:
    keyring = Keyring(path)
    values = [(await keyring.create_key(f"k{number}", "full"))[1] for number in range(20)]
    login = (await keyring.create_login("browser", "full", "uid:1", expires_in_ms=60_000))[1]
    assert len(set(values)) == 20
    # 32 bytes as base64 without padding: 256 bits.
    assert {len(value.removeprefix("ptb_")) for value in values} == {43}
    stored = path.read_text()
    assert not [value for value in (*values, login) if value[4:] in stored or value[4:20] in stored]


async def test_s08_the_file_is_its_owners_alone_and_replaced_whole(path: Path) -> None:
    keyring = Keyring(path)
    await keyring.create_key("a", "read")
    first = path.stat()
    await keyring.create_key("b", "read")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.stat().st_ino != first.st_ino
    assert os.listdir(path.parent) == [path.name]


async def test_all_outlives_the_daemon(path: Path) -> None:
    keyring = Keyring(path)
    key, value = await keyring.create_key("ci", "read", session_ids=("s1",))
    login, cookie = await keyring.create_login("b", "read", key.principal, expires_in_ms=60_000, parent_id=key.grant_id)
    again = Keyring(path)
    assert (again.find(value), again.find(cookie)) == (key, login)


async def test_revoking_a_key_ends_its_logins_and_tells(path: Path) -> None:
    keyring = Keyring(path)
    key, value = await keyring.create_key("ci", "full")
    other, kept = await keyring.create_key("other", "full")
    login, cookie = await keyring.create_login("b", "full", key.principal, expires_in_ms=60_000, parent_id=key.grant_id)
    told: list[str] = []
    keyring.ended.append(told.append)
    gone = await keyring.revoke("ci")
    assert [one.grant_id for one in gone] == told == [key.grant_id, login.grant_id]
    for one in (keyring, Keyring(path)):
        assert (one.find(value), one.find(cookie)) == (None, None)
        assert one.find(kept) is not None
    with pytest.raises(KeyNotFound):
        await keyring.revoke("ci")
    assert [one.grant_id for one in keyring.all()] == [other.grant_id]


async def test_names_of_keys_are_unique_and_free_again(path: Path) -> None:
    keyring = Keyring(path)
    key, _ = await keyring.create_key("ci", "full")
    with pytest.raises(NameTaken):
        await keyring.create_key("ci", "read")
    await keyring.revoke(key.grant_id)
    again, _ = await keyring.create_key("ci", "full")
    # Another principal: what the old one made is not the new one's.
    assert again.principal != key.principal


async def test_what_expires_is_refused_at_once_and_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = Keyring(path)
    key, value = await keyring.create_key("ci", "full", expires_in_ms=1_000_000)
    _, cookie = await keyring.create_login("b", "full", "p", expires_in_ms=9_000_000, parent_id=key.grant_id)
    ended = trio.Event()
    keyring.ended.append(lambda grant_id: ended.set())
    late = eventlog.now_ms() + 1_000_001
    monkeypatch.setattr(module, "now_ms", lambda: late)
    assert (keyring.find(value), keyring.find(cookie), keyring.all()) == (None, None, [])
    async with trio.open_nursery() as nursery:
        await nursery.start(keyring.run)
        with trio.fail_after(30):
            await ended.wait()
            while keyring._grants or b"sha256" in path.read_bytes():  # noqa: ASYNC110 - a file tells nobody
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_the_oldest_logins_make_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOGINS", 3)
    keyring = Keyring(None)
    made = [await keyring.create_login(f"b{number}", "full", "p", expires_in_ms=60_000) for number in range(5)]
    assert [one.name for one in keyring.all()] == ["b2", "b3", "b4"]
    assert keyring.find(made[0][1]) is None


@pytest.mark.parametrize("damage", ["mode", "link", "content", "directory"])
async def test_s15_a_file_that_is_not_as_it_should_be_is_refused(path: Path, damage: str) -> None:
    await Keyring(path).create_key("ci", "full")
    if damage == "mode":
        path.chmod(0o644)
    elif damage == "link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
    elif damage == "content":
        path.write_text("{")
    else:
        path.unlink()
        path.mkdir()
    with pytest.raises(ConfigInvalid):
        Keyring(path)


async def test_what_cannot_be_written_down_is_not_made(path: Path) -> None:
    keyring = Keyring(path)
    path.parent.parent.mkdir(exist_ok=True)
    path.parent.write_text("not a directory")
    with pytest.raises(Conflict):
        await keyring.create_key("ci", "full")
    assert keyring.all() == []


async def test_two_daemons_at_the_file_lose_nothing_of_each_other(path: Path) -> None:
    """As while one hands over to the next."""
    old = Keyring(path)
    kept, gone = await old.create_key("kept", "full"), await old.create_key("gone", "full")
    new = Keyring(path)
    told: list[str] = []
    new.ended.append(told.append)
    late = await old.create_key("late", "full")
    await old.revoke("gone")
    assert new.find(late[1]) is not None
    assert new.find(gone[1]) is None
    assert told == [gone[0].grant_id]
    mine = await new.create_key("mine", "full")
    assert {one.name for one in old.all()} == {one.name for one in new.all()} == {"kept", "late", "mine"}
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(old.create_key, f"a{number}", "read")
            nursery.start_soon(new.create_key, f"b{number}", "read")
        nursery.start_soon(old.revoke, "mine")
    again = Keyring(path)
    assert len(again.all()) == 12
    assert again.find(kept[1]) is not None
    assert again.find(mine[1]) is None


async def test_a_lock_that_is_never_free_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.05)
    keyring = Keyring(path)
    await keyring.create_key("a", "full")
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(Conflict):
            await keyring.create_key("b", "full")
    finally:
        os.close(fd)
    assert [one.name for one in keyring.all()] == ["a"]
