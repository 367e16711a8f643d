"""What the commands ask the daemon, and what they make of its answers; the daemon is a fake on a real socket."""

import json
import os
import sys
from base64 import b64encode
from typing import Any

import pytest
from tests.cli.fake_daemon import FakeDaemon, daemon, session

from ptybridge.cli import quick
from ptybridge.cli.exits import exit_code_of
from ptybridge.cli.program import run
from ptybridge.cli.quick import list_sessions, socket_path
from ptybridge.config import load
from ptybridge.errors import RequestTimeout

__all__ = ["daemon"]


def piece(data: bytes, **changes: Any) -> dict[str, Any]:
    return {
        "data": b64encode(data).decode(), "encoding": "base64", "offset": 0, "next_offset": len(data),
        "missed_bytes": 0, "eof": True, "lossy": False, **changes,
    }  # fmt: skip


def waited(**changes: Any) -> dict[str, Any]:
    return {"reason": "timeout", "condition": None, "offset": 0, "match": None, "exit_code": None,
            "exit_signal": None, **changes}  # fmt: skip


# -- targets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "found"),
    [("abc1", "abc1"), ("build", "abd2"), ("abd", "abd2"), ("old", "zz4"), ("xyz", "xyz3"), ("abc", "abc1")],
)
def test_a_target_is_an_id_a_name_or_the_beginning_of_an_id(
    daemon: FakeDaemon, target: str, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions = [
        session(session_id="abc1", name="xyz3"),
        session(session_id="abd2", name="build"),
        session(session_id="abd0", name="build", state="exited"),
        session(session_id="xyz3", name="abc"),
        session(session_id="zz3", name="old", state="exited"),
        session(session_id="zz4", name="old", state="exited"),
    ]
    if target == "abc":
        sessions[3]["name"] = "other"
    daemon.result("session.list", {"sessions": sessions})
    daemon.result("session.get", session(session_id=found))
    assert run(["info", target]) == 0
    assert daemon.requests[-1] == ("session.get", {"session_id": found, "detailed": True})


def test_an_ambiguous_target_is_refused(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("session.list", {"sessions": [session(session_id="a1"), session(session_id="a2")]})
    assert run(["info", "a"]) == 5
    assert "could be any of a1, a2" in capsys.readouterr().err
    assert run(["info", "q"]) == 3
    assert run(["info", ""]) == 3


# -- listing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variables", [
    {}, {"XDG_RUNTIME_DIR": ""}, {"XDG_RUNTIME_DIR": "relative"}, {"XDG_RUNTIME_DIR": "", "XDG_STATE_HOME": "/s"},
    {"XDG_RUNTIME_DIR": "", "XDG_STATE_HOME": "rel"}, {"PTYBRIDGE_SOCKET": "/a/../b//c"}, {"PTYBRIDGE_SOCKET": ""},
    {"PTYBRIDGE_RUNTIME_DIR": "/r/"}, {"PTYBRIDGE_STATE_DIR": "/s", "XDG_RUNTIME_DIR": ""},
    {"PTYBRIDGE_STATE_DIR": "/s"}, {"PTYBRIDGE_STATE_DIR": "/s/x/", "PTYBRIDGE_RUNTIME_DIR": "/q"},
    {"XDG_CONFIG_HOME": "rel"}, {"XDG_RUNTIME_DIR": "/r/./s"}, {"XDG_RUNTIME_DIR": "/run//x/"},
])  # fmt: skip
def test_the_quick_way_finds_the_socket_where_the_configuration_says(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever the tests' own directories are called: a socket's path may have 107 bytes.
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("XDG_STATE_HOME")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert socket_path() == load(os.environ).config.paths.socket


def test_the_quick_way_gives_up_on_everything_unusual(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list_sessions(["--running"]) is None
    assert list_sessions([]) is None, "there is no daemon"
    monkeypatch.setenv("PTYBRIDGE_SOCKET", "relative.sock")
    assert socket_path() is None
    monkeypatch.setenv("PTYBRIDGE_SOCKET", "/x")
    monkeypatch.setenv("PTYBRIDGE_CONFIG", "/etc/x.toml")
    assert socket_path() is None


def test_a_daemon_that_does_not_answer_is_asked_once(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.raw("session.list", lambda request: [])
    monkeypatch.setattr(quick, "ANSWER_SECONDS", 0.1)
    assert list_sessions([]) == exit_code_of(RequestTimeout())
    assert "hint: `ptybridge doctor` tells whether it is well" in capsys.readouterr().err


def test_ls_is_the_same_the_quick_and_the_long_way(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    sessions = [
        session(waiting_for_input=True, command=["sh", "-c", "a\nb"]),
        session(session_id="s2", name=None, state="exited", exit_code=3),
        session(session_id="s3", name="日本", state="exited", exit_signal="SIGKILL"),
        session(session_id="s5", shell_integration="prompt"),
        session(session_id="s4", name="e\x1b[31mvil\u202e", state="exited", exit_reason="lost"),
    ]
    daemon.result("session.list", {"sessions": sessions})
    assert list_sessions([]) == 0
    quick = capsys.readouterr().out
    assert run(["ls"]) == 0
    assert capsys.readouterr().out == quick
    rows = [line.split() for line in quick.splitlines()]
    assert rows[0] == ["ID", "NAME", "STATE", "CLIENTS", "AGE", "COMMAND"]
    assert rows[1][:3] == ["s1", "build", "waiting"]
    assert rows[1][-3:] == ["sh", "-c", "'a⏎b'"]
    assert rows[2][1:4] == ["-", "exit", "3"]
    assert rows[3][2] == "SIGKILL"
    assert rows[4][2] == "prompt"


def test_s24_what_strangers_chose_is_printed_without_what_could_steer_a_terminal(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "a\x1b]0;x\x07\x9b31m\u202eb\x00\r\nc"
    one = session(name=evil, title=evil, cwd=evil, command=[evil], owner=evil, tags=[evil], created_by=evil)
    daemon.result("session.list", {"sessions": [one | {"session_id": "s1"}]})
    daemon.result("session.get", one)
    for arguments in (["ls"], ["info", "s1"]):
        assert run(arguments) == 0
        out = capsys.readouterr().out
        assert not set(out) & set("\x1b\x07\x9b\u202e\x00\r")
        assert "]0;x31mb" in out


def test_ls_json_is_an_array_either_way(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("session.list", {"sessions": []})
    assert list_sessions(["--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    daemon.result("session.list", {"sessions": [session()]})
    assert list_sessions(["--json"]) == 0
    quick = json.loads(capsys.readouterr().out)
    assert run(["ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == quick == [session()]


def test_ls_of_nothing_prints_nothing(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("session.list", {"sessions": []})
    assert (list_sessions([]), run(["ls"])) == (0, 0)
    assert capsys.readouterr().out == ""


def test_ls_of_nothing_says_so_to_people(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.result("session.list", {"sessions": []})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert (list_sessions([]), run(["ls"])) == (0, 0)
    assert capsys.readouterr().out.count("no sessions: `ptybridge new` starts one") == 2
    assert run(["ls", "--running"]) == run(["ls", "--tag", "ci"]) == 0
    assert capsys.readouterr().out.count("no such sessions: `ptybridge ls` shows all") == 2


def test_ls_passes_its_filters_on(daemon: FakeDaemon) -> None:
    daemon.result("session.list", {"sessions": []})
    assert run(["ls", "--running", "--tag", "ci", "--owner", "me"]) == 0
    asked = daemon.requests[-1][1]
    assert (asked["state"], asked["tag"], asked["owner"]) == ("running", "ci", "me")


# -- creating -----------------------------------------------------------------------------------------------


def test_new_sends_the_environment_and_the_directory(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.result("session.create", session())
    monkeypatch.setenv("MINE", "yes")
    monkeypatch.setenv("BYTES", os.fsdecode(b"\xff"))
    assert run(["new", "-d", "--name", "n", "--tag", "t", "-e", "A=1=2", "-e", "B", "--size", "100x30",
                "--cwd", "sub", "--", "vim", "-u", "NONE"]) == 0  # fmt: skip
    asked = daemon.requests[-1][1]
    assert asked["command"] == ["vim", "-u", "NONE"]
    assert asked["cwd"] == os.path.join(os.getcwd(), "sub")
    assert asked["caller_env"]["MINE"] == "yes"
    assert "BYTES" not in asked["caller_env"]
    assert asked["env"] == {"A": "1=2", "B": None}
    assert (asked["cols"], asked["rows"], asked["name"], asked["tags"]) == (100, 30, "n", ["t"])
    assert capsys.readouterr().out == "s1\n"


def test_new_a_uses_the_session_of_that_name(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("session.list", {"sessions": [session()]})
    assert run(["new", "-d", "-A", "--name", "build"]) == 0
    assert capsys.readouterr().out == "s1\n"
    assert [name for name, _ in daemon.requests] == ["session.list"]
    daemon.result("session.create", session(session_id="s2"))
    assert run(["new", "-d", "-A", "--name", "other"]) == 0
    assert capsys.readouterr().out == "s2\n"


def test_new_takes_defaults_from_the_configuration(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.result("session.create", session())
    monkeypatch.setenv("PTYBRIDGE_SESSION_SHELL", "/bin/fish")
    monkeypatch.setenv("PTYBRIDGE_SESSION_COLS", "99")
    assert run(["new", "-d"]) == 0
    asked = daemon.requests[-1][1]
    assert (asked["command"], asked["env"], asked["cols"]) == (None, {"SHELL": "/bin/fish"}, 99)


def test_a_command_line_taken_for_a_program_gets_a_hint(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.error("session.create", "spawn_failed", "cannot run a b: No such file or directory", errno=2)
    assert run(["new", "-d", "a b"]) == 127
    assert "use -c" in capsys.readouterr().err


# -- input --------------------------------------------------------------------------------------------------


def test_send_sends_bytes_then_enter(daemon: FakeDaemon) -> None:
    daemon.result("session.list", {"sessions": [session()]})
    daemon.result("session.write", {"accepted_bytes": 2})
    daemon.result("session.send_keys", {"accepted_bytes": 1})
    assert run(["send", "build", "é", "--enter"]) == 0
    assert daemon.requests[1][1]["data"] == b64encode("é".encode()).decode()
    assert daemon.requests[2][1]["keys"] == ["enter"]


def test_keys_and_paste(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("session.list", {"sessions": [session()]})
    daemon.result("session.send_keys", {"accepted_bytes": 4})
    daemon.result("session.paste", {"accepted_bytes": 9, "queue_position": 2})
    assert run(["keys", "build", "ctrl-c", "up"]) == 0
    assert daemon.requests[-1][1]["keys"] == ["ctrl-c", "up"]
    assert run(["paste", "build", "two words", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"accepted_bytes": 9, "queue_position": 2}


# -- waiting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "answer", "code"),
    [
        ([], waited(reason="exited", condition={"exit": True}, exit_code=3), 0),
        (["--status"], waited(reason="exited", condition={"exit": True}, exit_code=3), 3),
        (["--status"], waited(reason="exited", condition={"exit": True}, exit_signal="SIGTERM"), 143),
        (["--text", "x"], waited(reason="matched", condition={"pattern": "x"}), 0),
        (["--text", "x"], waited(reason="exited"), 1),
        (["--text", "x"], waited(reason="gap"), 1),
        (["--text", "x", "--timeout", "1"], waited(), 124),
    ],
)
def test_wait_says_by_its_code_whether_it_held(
    daemon: FakeDaemon, options: list[str], answer: dict[str, Any], code: int
) -> None:
    daemon.result("session.list", {"sessions": [session()]})
    daemon.result("session.wait", answer)
    assert run(["wait", "build", *options]) == code


def test_wait_gives_all_its_conditions(daemon: FakeDaemon) -> None:
    daemon.result("session.list", {"sessions": [session(end_offset=7)]})
    daemon.result("session.wait", waited())
    run(["wait", "build", "--text", "a", "--text", "b", "--regex", "c", "--idle", "0.5", "--screen", "d",
         "--exit", "--timeout", "2", "--new"])  # fmt: skip
    asked = daemon.requests[-1][1]
    given = [{k: v for k, v in one.items() if v not in (None, False)} for one in asked["until"]]
    assert given == [
        {"pattern": "a"}, {"pattern": "b"}, {"pattern": "c", "regex": True}, {"idle_ms": 500}, {"screen": "d"},
        {"exit": True},
    ]  # fmt: skip
    assert (asked["timeout_ms"], asked["offset"]) == (2000, 7)


# -- output -------------------------------------------------------------------------------------------------


def test_read_goes_on_to_the_end_as_it_was_and_says_what_was_lost(
    daemon: FakeDaemon, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    daemon.result("session.list", {"sessions": [session(end_offset=6)]})
    pieces = {0: piece(b"a\xff\x1b", next_offset=3), 3: piece(b"def", next_offset=6, missed_bytes=2048)}
    daemon.raw("session.read", lambda asked: [
        {"jsonrpc": "2.0", "id": asked["id"], "result": pieces[asked["params"]["offset"]]}
    ])  # fmt: skip
    assert run(["read", "build"]) == 0
    out, err = capfdbinary.readouterr()
    assert out == b"a\xff\x1bdef"
    assert err == b"ptybridge: 2.0 KiB had been discarded before they could be read\n"


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, b""), (1, b"c"), (2, b"b\nc"), (3, b"a\nb\nc"), (9, b"a\nb\nc")],
)
def test_tail_prints_the_last_lines(
    daemon: FakeDaemon, count: int, expected: bytes, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    daemon.result("session.list", {"sessions": [session(end_offset=5)]})
    daemon.result("session.read", piece(b"a\nb\nc"))
    assert run(["tail", "build", "-n", str(count)]) == 0
    assert capfdbinary.readouterr().out == expected


def test_plain_is_text_in_a_pipe_too(daemon: FakeDaemon, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    daemon.result("session.list", {"sessions": [session(end_offset=20)]})
    daemon.result("session.read", piece(b"\x1b]133;A\x07\x1b[31ma\x1b[0m\r\nb\r\n"))
    for command in ("read", "tail"):
        assert run([command, "build", "--plain"]) == 0
        assert capfdbinary.readouterr().out == b"a\nb\n"
        assert run([command, "build", "--plain", "--raw"]) == 2
        assert b"not both" in capfdbinary.readouterr().err


def test_tail_follows_until_the_exit(daemon: FakeDaemon, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    daemon.result("session.list", {"sessions": [session(end_offset=5)]})
    daemon.result("session.read", piece(b"a\nb\n"))
    output = {"type": "output", "encoding": "base64", "offset": 4, "next_offset": 6, "lossy": False}
    events: list[dict[str, Any]] = [
        output | {"data": b64encode(b"c\n").decode()},
        {"type": "something new"},
        {"type": "gap", "from_offset": 6, "to_offset": 16},
    ]
    daemon.stream("session.follow", {"offset": 4, "rows": 1, "cols": 1}, events, {"reason": "exited"})
    assert run(["tail", "-f", "-n", "1", "build"]) == 0
    out, err = capfdbinary.readouterr()
    assert out == b"b\nc\n"
    assert b"10 B were discarded" in err


def test_screen_prints_plain_text(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("session.list", {"sessions": [session()]})
    picture = {"lines": ["$ ls  ", "", "b\u202e", "", ""], "scrollback": ["old"], "title": "", "alternate": False,
               "cursor": {"row": 0, "col": 0, "visible": True}, "rows": 5, "cols": 9, "offset": 1}  # fmt: skip
    daemon.result("session.screen", picture)
    assert run(["screen", "build"]) == 0
    assert capsys.readouterr().out == "old\n$ ls\n\nb\n"


def test_events_print_a_line_each(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    event = {"type": "title", "number": 4, "time_ms": 0, "session_id": "s1", "title": "x\x1by"}
    daemon.stream("event.follow", {"number": 3}, [event], {"reason": "ended"})
    assert run(["events", "--after", "3", "--type", "title"]) == 0
    assert capsys.readouterr().out.endswith("4  s1     title title=xy\n")
    assert run(["events", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == event
    exited = {"type": "exited", "number": 5, "time_ms": 0, "session_id": "s1", "exit_code": 0, "exit_signal": None,
              "exit_reason": "exited", "end_offset": 2, "output_closed": True}  # fmt: skip
    daemon.stream("event.follow", {"number": 4}, [exited], {"reason": "ended"})
    assert run(["events"]) == 0
    assert capsys.readouterr().out.endswith("exit_code=0 exit_reason=exited end_offset=2 output_closed=true\n")


# -- control ------------------------------------------------------------------------------------------------


def test_close_of_several_and_of_one(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    closed = {"session_id": "s1", "signals": ["SIGHUP"], "survivors": [12], "exit_code": None,
              "exit_signal": "SIGHUP", "end_offset": 0}  # fmt: skip
    daemon.result("session.list", {"sessions": [session()]})
    daemon.result("session.close", closed)
    daemon.result("session.close_all", {"closed": [closed, closed]})
    assert run(["close", "build"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", "ptybridge: s1: these outlived even SIGKILL: 12\n")
    assert run(["close", "--tag", "ci"]) == 0
    assert capsys.readouterr().out == "closed 2 sessions\n"


def test_kick_finds_the_client_by_the_beginning_of_its_id(daemon: FakeDaemon) -> None:
    client = {"attachment_id": "1a2b3c4d", "client_id": "c9", "mode": "writer", "rows": 1, "cols": 1,
              "rendered": False, "lag_bytes": 0, "attached_at_ms": 0, "pid": 1}  # fmt: skip
    daemon.result("session.list", {"sessions": [session()]})
    daemon.result("session.get", session(clients=[client]))
    daemon.result("session.kick", {})
    assert run(["kick", "build", "1a2b"]) == 0
    assert daemon.requests[-1][1]["attachment_id"] == "1a2b3c4d"
    assert run(["kick", "build", "c9"]) == 0
    assert run(["kick", "build", "zz"]) == 3


def test_rename_can_take_a_name_away(daemon: FakeDaemon) -> None:
    daemon.result("session.list", {"sessions": [session()]})
    daemon.result("session.update", session())
    assert run(["rename", "build", "--none"]) == 0
    assert daemon.requests[-1][1] == {"session_id": "s1", "name": None, "client_id": None}


def test_restart_asks_before_it_ends_sessions(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    info = {"version": "1", "protocol": 1, "protocol_min": 1, "pid": 1, "hostname": "h", "user": "u", "platform": "p",
            "python": "3", "started_at_ms": 0, "uptime_ms": 0, "sessions": 2, "sessions_running": 2, "clients": 0,
            "socket": "/x", "keeper": False}  # fmt: skip
    daemon.result("node.info", info)
    assert run(["restart"]) == 2
    assert "This ends 2 running sessions" in capsys.readouterr().err
    assert [name for name, _ in daemon.requests] == ["node.info"]


# -- any operation ------------------------------------------------------------------------------------------


def test_call_makes_of_texts_what_the_operation_wants(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("session.create", session())
    assert run(["call", "session.create", "command=htop", "cols=100", "echo=false", 'tags:=["a", "1"]']) == 0
    assert daemon.requests[-1][1] == {"command": "htop", "cols": 100, "echo": False, "tags": ["a", "1"]}
    assert json.loads(capsys.readouterr().out) == session()
    assert run(["call", "session.create", "cols=wide"]) == 2
    assert "`ptybridge ops session.create` shows its parameters" in capsys.readouterr().err


def test_call_passes_an_operation_it_does_not_know_on(daemon: FakeDaemon) -> None:
    daemon.result("new.thing", {"ok": True})
    assert run(["call", "new.thing", "a=1"]) == 0
    assert daemon.requests[-1] == ("new.thing", {"a": "1"})
    assert run(["call", "no.such"]) == 2


def test_call_of_a_stream_prints_lines(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.stream("event.follow", {"number": 0}, [{"type": "a"}, {"type": "b"}], {"reason": "ended"})
    assert run(["call", "event.follow"]) == 0
    assert [json.loads(line)["type"] for line in capsys.readouterr().out.splitlines()] == ["a", "b"]


def test_what_changes_something_and_is_cut_off_says_that_nobody_knows_whether_it_was_done(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    def go_away(request: dict[str, Any]) -> list[dict[str, Any]]:
        raise OSError

    for method, command in [
        ("exec.run", ["call", "exec.run", "command=make"]),
        ("exec.stream", ["call", "exec.stream", "command=make"]),
        ("file.archive", ["file", "archive", "a.zip", "b"]),
    ]:
        daemon.raw(method, go_away)
        assert run(command) == 4
        assert f"during {method}: it is not known whether it was done" in capsys.readouterr().err


def test_ops_lists_and_describes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ops"]) == 0
    assert "session.create" in capsys.readouterr().out
    assert run(["ops", "session.wait"]) == 0
    page = capsys.readouterr().out
    assert "required" in page
    assert "timeout_ms" in page
    assert run(["ops", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    for one in described:
        assert run(["ops", one["name"]]) == 0
    assert run(["ops", "no.such"]) == 2


# -- configuration ------------------------------------------------------------------------------------------


def test_config_shows_values_and_where_they_come_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PTYBRIDGE_ATTACH_PREFIX", "ctrl-a")
    assert run(["config"]) == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["attach.prefix", "ctrl-a", "environment", "PTYBRIDGE_ATTACH_PREFIX"] in table
    assert run(["config", "get", "prefix", "--json"]) == 0
    assert capsys.readouterr().out == '"ctrl-a"\n'
    assert run(["config", "get", "socket"]) == 0
    assert capsys.readouterr().out == load(os.environ).config.paths.socket + "\n"
    assert run(["config", "path"]) == 0
    assert capsys.readouterr().out == f"{os.environ['XDG_CONFIG_HOME']}/ptybridge/config.toml\n"
