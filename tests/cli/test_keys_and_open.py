"""`key` and `open`: what they ask, what they print, and the page a browser is given."""

import json
import os
import re
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from tests.cli.fake_daemon import FakeDaemon, daemon, session

from ptybridge.cli import open as open_module
from ptybridge.cli.program import run

__all__ = ["daemon"]

VALUE = "ptb_" + "A" * 43
URL = "http://127.0.0.1:7373/login#ptc_" + "B" * 43


def info(**changes: Any) -> dict[str, Any]:
    return {
        "key_id": "k1", "kind": "key", "name": "ci", "level": "read", "principal": "key:k1", "created_at_ms": 0,
        "expires_at_ms": None, "last_used_at_ms": None, "parent_id": None, "session_ids": None, **changes,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)


# -- key ----------------------------------------------------------------------------------------------------


def test_a_new_keys_value_is_all_that_is_printed(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("key.create", {"key": info(), "value": VALUE})
    daemon.result("session.list", {"sessions": [session(session_id="s1", name="build")]})
    assert run(["key", "new", "ci", "--level", "read", "--expires", "30d", "--session", "build"]) == 0
    assert daemon.requests[-1] == (
        "key.create",
        {"name": "ci", "level": "read", "expires_in_ms": 30 * 86_400_000, "session_ids": ["s1"]},
    )
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (VALUE + "\n", "")


def test_as_json_a_new_key_is_told_with_its_value(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("key.create", {"key": info(), "value": VALUE})
    assert run(["key", "new", "ci", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["value"], told["key"]["name"]) == (VALUE, "ci")


@pytest.mark.parametrize("words", [["--expires", "3"], ["--expires", "0d"], ["--expires", "1w"], ["--level", "root"]])
def test_what_makes_no_sense_is_refused_before_anything_is_asked(daemon: FakeDaemon, words: list[str]) -> None:
    assert run(["key", "new", "ci", *words]) == 2
    assert daemon.requests == []


def test_keys_and_logins_are_listed(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    login = info(key_id="l2", kind="login", name="Firefox on \x1b[2JLinux", session_ids=["s1"])
    daemon.result("key.list", {"keys": [info(), login]})
    assert run(["key", "ls"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^k1 +key +ci +read .* all", shown, re.MULTILINE)
    assert re.search(r"^l2 +login +Firefox .* s1", shown, re.MULTILINE)
    # What a browser calls itself steers no terminal.
    assert "\x1b" not in shown
    assert run(["key", "ls", "--json"]) == 0
    assert [one["key_id"] for one in json.loads(capsys.readouterr().out)] == ["k1", "l2"]


def test_all_logins_end_at_once_and_keys_stay(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("key.list", {"keys": [info(), info(key_id="l2", kind="login"), info(key_id="l3", kind="login")]})
    daemon.result("key.revoke", {"keys": [info(key_id="l2", kind="login")]})
    assert run(["key", "revoke", "--logins", "--json"]) == 0
    assert [params for method, params in daemon.requests if method == "key.revoke"] == [
        {"key_id": "l2"},
        {"key_id": "l3"},
    ]
    assert [one["key_id"] for one in json.loads(capsys.readouterr().out)] == ["l2"]


def test_a_key_that_there_is_not_is_an_error_and_so_is_none(daemon: FakeDaemon) -> None:
    daemon.error("key.revoke", "key_not_found", "there is no key 'x'")
    assert run(["key", "revoke", "x"]) == 3
    assert run(["key", "revoke"]) == 2


# -- open ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "level"), [([], "full"), (["--read-only"], "read"), (["--admin"], "admin")])
def test_without_a_display_the_link_is_printed(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], words: list[str], level: str
) -> None:
    daemon.result("web.open", {"url": URL, "addresses": ["127.0.0.1:7373"]})
    assert run(["open", *words]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (URL + "\n", "")
    assert daemon.requests[-1] == ("web.open", {"level": level, "session_id": None})
    assert not list(Path(daemon.path).parent.glob("open-*"))


def test_it_can_lead_to_a_session(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("web.open", {"url": URL, "addresses": []})
    daemon.result("session.list", {"sessions": [session(session_id="s1", name="build")]})
    assert run(["open", "build", "--json"]) == 0
    assert daemon.requests[-1] == ("web.open", {"level": "full", "session_id": "s1"})
    assert json.loads(capsys.readouterr().out)["url"] == URL


def test_levels_exclude_each_other(daemon: FakeDaemon) -> None:
    assert run(["open", "--read-only", "--admin"]) == 2


@pytest.mark.parametrize("there", [True, False])
def test_a_browser_gets_a_page_of_ours_that_is_soon_gone(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    daemon.result("web.open", {"url": URL + "&<\"'", "addresses": []})
    given: list[str] = []
    pages: list[tuple[int, str]] = []

    def browser(address: str) -> bool:
        given.append(address)
        page = Path(address.removeprefix("file://"))
        pages.append((stat.S_IMODE(page.stat().st_mode), page.read_text()))
        return there

    monkeypatch.setattr("webbrowser.open", browser)
    monkeypatch.setattr(open_module, "PAGE_SECONDS", 0)
    monkeypatch.setenv("DISPLAY", ":0")
    assert run(["open"]) == 0
    # No code on a command line, and nothing in the page that another could read or that breaks out of it.
    assert "ptc_" not in given[0]
    ((mode, page),) = pages
    assert mode == 0o600
    assert f'url={URL}&amp;&lt;&quot;&#x27;"' in page
    assert "no-referrer" in page
    assert capsys.readouterr().out == ("" if there else URL + "&<\"'\n")
    path = given[0].removeprefix("file://")
    deadline = time.monotonic() + 60
    while os.path.exists(path):
        assert time.monotonic() < deadline
        time.sleep(0.01)
