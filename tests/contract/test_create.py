"""`session.create`: what runs, where, with which environment, under which name; and what cannot."""

import os
from pathlib import Path

import pytest
from tests.contract.endpoints import Client
from tests.contract.programs import exited, outcome, output, script, shell, start

from ptybridge import config
from ptybridge.api import session, terminal
from ptybridge.errors import InvalidParams, LimitReached, NameTaken, SpawnFailed


@pytest.fixture
def settings() -> config.Daemon:
    return config.Daemon(stop_timeout_ms=2000, max_sessions=6, max_output_bytes=1 << 22)


async def test_a_list_is_executed_as_it_is(client: Client) -> None:
    session_id = await start(client, "printf", "%s|", "a b", "$HOME", "*")
    assert await output(client, session_id) == "a b|$HOME|*|"
    info = await client.call(session.GET, session_id=session_id)
    assert info.command == ["printf", "%s|", "a b", "$HOME", "*"]


async def test_s18_a_string_is_one_argument_of_the_users_shell(client: Client) -> None:
    text = "echo \"$0 $#\"; echo 'a; b' && exit 3"
    info = await client.call(session.CREATE, command=text)
    assert info.command == ["/bin/bash", "-c", text]
    assert await output(client, info.session_id) == "/bin/bash 0\r\na; b\r\n"
    assert (await exited(client, info.session_id)).exit_code == 3


async def test_a_string_runs_without_login_or_interactive_shell(client: Client) -> None:
    info = await client.call(
        session.CREATE, command="shopt -q login_shell && echo login; case $- in *i*) echo i;; esac"
    )
    assert await output(client, info.session_id) == ""


async def test_without_a_command_the_users_shell_starts(client: Client) -> None:
    info = await client.call(session.CREATE, env={"PS1": "here> "}, caller_env={"SHELL": "/bin/sh"})
    assert info.command == ["/bin/sh"]
    assert info.state == "running"


async def test_the_answer_tells_everything_about_the_session(client: Client, tmp_path: Path) -> None:
    info = await client.call(
        session.CREATE, command=["cat"], cwd=str(tmp_path), cols=101, rows=33, name="n", owner="o", tags=["a", "b"]
    )
    assert (info.name, info.owner, info.tags, info.access) == ("n", "o", ["a", "b"], "admin")
    assert (info.backend, info.command, info.cwd) == ("pty", ["cat"], str(tmp_path))
    assert (info.cols, info.rows, info.window_size_policy) == (101, 33, "latest")
    assert (info.state, info.exit_code, info.exit_signal, info.exit_reason) == ("running", None, None, None)
    assert info.pid > 0
    assert info.pgid == info.pid
    assert info.created_by == f"uid:{os.geteuid()}"
    assert info.start_offset == 0
    assert info.exited_at_ms is None
    assert 0 < info.created_at_ms <= info.last_active_at_ms + 1000
    assert info.clients == []
    assert info.streams is None
    assert (info.overflow, info.max_output_bytes) == ("drain", 1 << 20)


async def test_the_terminal_is_real_and_has_the_size_asked_for(client: Client) -> None:
    text = await outcome(client, "tty; stty size; tty </dev/tty", cols=91, rows=17)
    assert text.startswith("/dev/pts/")
    assert "\r\n17 91\r\n" in text
    assert text.endswith("/dev/tty\r\n")


async def test_echo_can_be_off_from_the_start(client: Client) -> None:
    session_id = await start(client, "cat", echo=False)
    await client.call(terminal.WRITE, session_id=session_id, data="secret\n", eof=True)
    assert await output(client, session_id) == "secret\r\n"


# -- environment ---------------------------------------------------------------------------------------------


async def test_environment_is_set_and_unset_by_name(client: Client) -> None:
    text = await outcome(
        client,
        'echo "$ONE|$TWO|${THREE-unset}"',
        caller_env={"ONE": "caller", "TWO": "caller", "THREE": "caller", "PATH": os.environ["PATH"]},
        env={"ONE": "grüß gott", "THREE": None},
    )
    assert text == "grüß gott|caller|unset\r\n"


async def test_an_empty_value_is_not_unset(client: Client) -> None:
    assert await outcome(client, 'echo "${E-unset}"', env={"E": ""}) == "\r\n"


async def test_s17_what_must_not_be_inherited_is_left_out(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTYBRIDGE_SECRET", "daemon")
    monkeypatch.setenv("DAEMON_ONLY", "daemon")
    monkeypatch.setenv("PYTHONPATH", "/daemons")
    denied = ["LD_PRELOAD", "LD_LIBRARY_PATH", "PTYBRIDGE_SOCKET", "PTY_MCP_X", "NOTIFY_SOCKET", "LISTEN_FDS", "TMUX"]
    caller = dict.fromkeys(denied, "evil") | {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "7", "KEPT": "yes"}
    text = await outcome(client, "env", caller_env=caller)
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert not set(denied) & set(found)
    assert not {"PTYBRIDGE_SECRET", "DAEMON_ONLY", "PYTHONPATH"} & set(found)
    assert found["PYTHONHASHSEED"] == "7"
    assert found["KEPT"] == "yes"


async def test_the_environment_tells_of_the_terminal_and_the_session(client: Client) -> None:
    info = await client.call(session.CREATE, command=["env"], caller_env={"TERM": "linux", "LANG": "de_DE.ISO-8859-1"})
    found = dict(line.split("=", 1) for line in (await output(client, info.session_id)).splitlines())
    assert (found["TERM"], found["COLORTERM"]) == ("xterm-256color", "truecolor")
    assert found["PTYBRIDGE_SESSION_ID"] == info.session_id
    assert "utf-8" in found["LC_CTYPE"].lower()
    assert found["LANG"] == "de_DE.ISO-8859-1"


async def test_s22_anothers_agent_socket_is_never_linked(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each child sees the agent of the caller that asked for it, by value; nothing is shared through a path."""
    monkeypatch.setenv("SSH_AUTH_SOCK", "/daemons/agent")
    one = await outcome(client, "echo $SSH_AUTH_SOCK", caller_env={"SSH_AUTH_SOCK": "/a/agent", "PATH": "/bin"})
    two = await outcome(client, "echo $SSH_AUTH_SOCK", caller_env={"SSH_AUTH_SOCK": "/b/agent", "PATH": "/bin"})
    assert (one, two) == ("/a/agent\r\n", "/b/agent\r\n")


@pytest.mark.parametrize("name", ["", "A=B", "N\0"])
async def test_impossible_variables_are_refused(client: Client, name: str) -> None:
    with pytest.raises(InvalidParams, match="environment variable"):
        await client.call(session.CREATE, command=["true"], env={name: "x"})


# -- directory and program ------------------------------------------------------------------------------------


async def test_the_directory_is_the_one_asked_for_or_home(client: Client, tmp_path: Path) -> None:
    assert await outcome(client, "pwd", cwd=str(tmp_path)) == f"{tmp_path}\r\n"
    home = tmp_path / "home"
    assert await outcome(client, "pwd") == f"{home}\r\n"
    (home / "work").mkdir()
    assert await outcome(client, "pwd", cwd="~/work") == f"{home}/work\r\n"


@pytest.mark.parametrize(
    ("cwd", "reason"),
    [("/no/such/place", "No such file"), ("/etc/passwd", "[Nn]ot a directory"), ("/a\0b", "NUL")],
)
async def test_a_bad_directory_is_refused_with_the_reason(client: Client, cwd: str, reason: str) -> None:
    with pytest.raises(InvalidParams, match=reason):
        await client.call(session.CREATE, command=["true"], cwd=cwd)
    assert (await client.call(session.LIST)).sessions == []


@pytest.mark.parametrize("backend", ["pty", "pipes"])
@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["no-such-program-anywhere"], "No such file"),
        (["/etc/passwd"], "Permission denied"),
        (["/usr"], "directory"),
    ],
)
async def test_a_program_that_cannot_start_gives_the_systems_reason(
    client: Client, backend: str, command: list[str], reason: str
) -> None:
    with pytest.raises(SpawnFailed, match=reason) as caught:
        await client.call(session.CREATE, command=command, backend=backend, name="gone")
    assert caught.value.data["errno"]
    assert (await client.call(session.LIST)).sessions == []
    # The name was not lost with it.
    await client.call(session.CREATE, command=["cat"], name="gone")


@pytest.mark.parametrize("command", [[], [""], "", "  ", "a\0b", ["a", "b\0"]])
async def test_an_empty_or_impossible_command_is_refused(client: Client, command: object) -> None:
    with pytest.raises(InvalidParams):
        await client.call_raw("session.create", {"command": command})


@pytest.mark.parametrize(
    "params",
    [
        {"cols": 0},
        {"rows": 0},
        {"cols": 65536},
        {"rows": -1},
        {"cols": 1.5},
        {"cols": "80"},
        {"backend": "screen"},
        {"max_output_bytes": 1},
        {"max_output_bytes": 1 << 23},
        {"overflow": "drop"},
        {"access": "root"},
        {"linger_ms": -1},
        {"input_bytes_per_second": 0},
        {"no_such_field": 1},
        {"env": {"A": 1}},
        {"command": 7},
        {"command": ["a", 7]},
    ],
)
async def test_wrong_parameters_are_refused_and_start_nothing(client: Client, params: dict[str, object]) -> None:
    with pytest.raises(InvalidParams):
        await client.call_raw("session.create", {"command": ["cat"]} | params)
    assert (await client.call(session.LIST)).sessions == []


# -- labels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["name", "owner", "tags"])
@pytest.mark.parametrize(
    "label",
    ["", "-oProxyCommand=x", "..", ".", "a/b", "a\0b", "\u202egnp.exe", "a\nb", "\x1b[31m", " a", "a ", "x" * 4096],
)
async def test_s18_labels_that_mislead_are_refused(client: Client, field: str, label: str) -> None:
    with pytest.raises(InvalidParams):
        await client.call_raw("session.create", {"command": ["true"], field: [label] if field == "tags" else label})


async def test_a_name_is_taken_per_owner_while_its_holder_runs(client: Client) -> None:
    first = await script(client, "read x", name="n", owner="a")
    with pytest.raises(NameTaken, match=first):
        await script(client, "true", name="n", owner="a")
    await script(client, "read x", name="n", owner="b")
    await script(client, "read x", name="n")
    with pytest.raises(NameTaken):
        await script(client, "true", name="n")


async def test_a_name_is_free_again_once_its_holder_has_exited(client: Client) -> None:
    first = await script(client, "exit 0", name="n")
    await exited(client, first)
    second = await script(client, "read x", name="n")
    # Closing the old holder must not free the name of the new one.
    await client.call(session.CLOSE, session_id=first)
    with pytest.raises(NameTaken, match=second):
        await script(client, "true", name="n")
    await client.call(session.CLOSE, session_id=second)
    await script(client, "true", name="n")


async def test_ids_are_short_readable_and_different(client: Client) -> None:
    ids = {await script(client, "true") for _ in range(5)}
    assert len(ids) == 5
    assert all(len(one) == 8 and one.isascii() and one.isalnum() and one == one.lower() for one in ids)


async def test_the_limit_on_running_sessions_holds(client: Client) -> None:
    for _ in range(5):
        await start(client, "cat")
    done = await start(client, "cat")
    with pytest.raises(LimitReached) as caught:
        await start(client, "cat")
    assert caught.value.retryable
    await client.call(terminal.WRITE, session_id=done, data="\x04")
    await exited(client, done)
    await start(client, "cat")


# -- job control -----------------------------------------------------------------------------------------------


async def test_control_keys_work_as_on_a_real_terminal(client: Client) -> None:
    session_id = await shell(client)

    async def says(keys: str, text: str) -> None:
        found = await client.call(
            terminal.PROMPT, session_id=session_id, data=keys, enter=False, until=[{"pattern": text}], timeout_ms=60_000
        )
        assert found.reason == "matched", found.data

    await says("echo go; cat\r", "go\r\n")
    await says("x\r", "x\r\nx\r\n")
    await says("\x1a", "Stopped")
    await says("fg\r", "cat\r\n")
    await says("\x04", "ready> ")
    await says("sh -c 'echo went; exec sleep 1000'\r", "went\r\n")
    await says("\x03", "ready> ")
    await client.call(terminal.WRITE, session_id=session_id, data="exit 9\r")
    assert (await exited(client, session_id)).exit_code == 9
