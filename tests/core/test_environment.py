import os
import pwd
from pathlib import Path

import pytest

from ptybridge.core.environment import child_environment, resolve_command, resolve_cwd, user_shell
from ptybridge.core.signals import signal_name, signal_number
from ptybridge.errors import InvalidParams

DAEMON = {"HOME": "/home/me", "PATH": "/bin", "LANG": "de_DE.UTF-8", "SHELL": "/bin/sh", "USER": "me", "LOGNAME": "me"}


def environment(
    caller: dict[str, str] | None = None,
    overrides: dict[str, str | None] | None = None,
    *,
    daemon: dict[str, str] = DAEMON,
    terminal: bool = True,
) -> dict[str, str]:
    return child_environment(caller, overrides, session_id="s1", daemon=daemon, terminal=terminal)


def test_the_daemons_environment_is_taken_from_an_allow_list() -> None:
    """S17."""
    own = dict.fromkeys(("PYTHONPATH", "VIRTUAL_ENV", "OPENAI_API_KEY", "NOTIFY_SOCKET", "PTYBRIDGE_KEY"), "x")
    desktop = dict.fromkeys(("LC_TIME", "DISPLAY", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK", "TZ"), "x")
    assert environment(daemon=DAEMON | own | desktop) == DAEMON | desktop | {
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "PTYBRIDGE_SESSION_ID": "s1",
    }


def test_who_the_user_is_comes_from_the_user_database_if_need_be() -> None:
    env = environment(daemon={})
    user = pwd.getpwuid(os.getuid())
    assert (env["HOME"], env["USER"], env["LOGNAME"]) == (user.pw_dir, user.pw_name, user.pw_name)
    assert env["PATH"]
    assert env["LANG"] == "C.UTF-8"


def test_the_callers_variables_win_and_keep_their_python() -> None:
    env = environment({"HOME": "/home/other", "PYTHONPATH": "/mine", "EDITOR": "vi", "VIRTUAL_ENV": "/v"})
    assert env["HOME"] == "/home/other"
    assert env["PYTHONPATH"] == "/mine"
    assert env["EDITOR"] == "vi"
    assert env["VIRTUAL_ENV"] == "/v"
    assert env["PATH"] == "/bin"


@pytest.mark.parametrize(
    "name",
    "LD_PRELOAD LD_LIBRARY_PATH PTYBRIDGE_SOCKET PTYBRIDGE_KEY PTY_MCP_SCOPE NOTIFY_SOCKET LISTEN_FDS LISTEN_PID "
    "COLUMNS LINES TMUX TMUX_PANE STY WINDOWID TERM_PROGRAM VTE_VERSION _".split(),
)
def test_a_callers_variable_that_is_not_for_the_child_is_dropped(name: str) -> None:
    """S17."""
    assert name not in environment({name: "x"})


@pytest.mark.parametrize("term", [None, "dumb", "screen", "xterm-kitty", "vt100", ""])
def test_the_terminal_is_the_one_we_emulate_whatever_the_callers_is(term: str | None) -> None:
    env = environment({"TERM": term} if term is not None else {})
    assert (env["TERM"], env["COLORTERM"]) == ("xterm-256color", "truecolor")


def test_without_a_terminal_none_is_promised() -> None:
    env = environment({"TERM": "xterm", "COLORTERM": "truecolor"}, terminal=False)
    assert env["TERM"] == "dumb"
    assert "COLORTERM" not in env


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ({}, {"LANG": "C.UTF-8"}),
        ({"LANG": "en_US.utf8"}, {"LANG": "en_US.utf8"}),
        ({"LANG": "de_DE.ISO-8859-1"}, {"LANG": "de_DE.ISO-8859-1", "LC_CTYPE": "C.UTF-8"}),
        ({"LANG": "C"}, {"LANG": "C", "LC_CTYPE": "C.UTF-8"}),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, {"LC_ALL": "C.UTF-8", "LANG": "en_US.UTF-8"}),
        ({"LC_ALL": "", "LC_CTYPE": "fr_FR.UTF-8"}, {"LC_ALL": "", "LC_CTYPE": "fr_FR.UTF-8"}),
    ],
)
def test_the_locale_is_utf8(locale: dict[str, str], expected: dict[str, str]) -> None:
    env = environment(locale, daemon={"PATH": "/bin"})
    assert {name: value for name, value in env.items() if name == "LANG" or name.startswith("LC_")} == expected


def test_what_is_asked_for_by_name_always_wins() -> None:
    env = environment(
        {"EDITOR": "vi", "A": "1"},
        {"TERM": "vt100", "LC_ALL": "C", "A": "", "LD_PRELOAD": "/x.so", "EDITOR": None, "COLORTERM": None, "NO": None},
    )
    assert (env["TERM"], env["LC_ALL"], env["A"], env["LD_PRELOAD"]) == ("vt100", "C", "", "/x.so")
    assert not {"EDITOR", "COLORTERM", "NO"} & env.keys()


def test_the_session_id_cannot_be_changed() -> None:
    assert environment({"PTYBRIDGE_SESSION_ID": "x"}, {"PTYBRIDGE_SESSION_ID": None})["PTYBRIDGE_SESSION_ID"] == "s1"


@pytest.mark.parametrize(("name", "value"), [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0y")])
def test_impossible_variables_are_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidParams):
        environment({name: value})
    with pytest.raises(InvalidParams):
        environment(None, {name: value})


# -- command and directory ----------------------------------------------------------------------------------


def test_a_command_is_one_argument_of_the_shell_or_an_argv_as_it_is() -> None:
    """S18."""
    env = {"SHELL": "/bin/sh"}
    assert resolve_command("echo $(id); 'x", env) == ["/bin/sh", "-c", "echo $(id); 'x"]
    assert resolve_command(["a b", "", "-c;"], env) == ["a b", "", "-c;"]
    assert resolve_command(None, env) == ["/bin/sh"]


@pytest.mark.parametrize("command", ["", "  \n", [], [""], ["a", "b\0"], "a\0b"])
def test_an_impossible_command_is_refused(command: str | list[str]) -> None:
    with pytest.raises(InvalidParams):
        resolve_command(command, {})


@pytest.mark.parametrize("shell", ["", "relative", "/no/such/shell"])
def test_an_unusable_shell_is_passed_over(shell: str) -> None:
    assert os.access(user_shell({"SHELL": shell}), os.X_OK)


def test_the_directory_is_absolute_and_exists(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "file").touch()
    home = str(tmp_path)
    assert resolve_cwd("/usr", "/") == "/usr"
    assert resolve_cwd(None, "/usr") == "/usr"
    assert resolve_cwd(None, None, home) == home
    assert resolve_cwd("~", "/", home) == home
    assert resolve_cwd("~/sub", "/", home) == f"{home}/sub"
    assert resolve_cwd("sub", home) == f"{home}/sub"
    assert resolve_cwd("~root", "/") == pwd.getpwnam("root").pw_dir or os.getuid() != 0
    reasons = {"none": "No such file", "file": "not a directory", "file/x": "Not a directory", "a\0": "NUL"}
    for bad, reason in reasons.items():
        with pytest.raises(InvalidParams, match=reason):
            resolve_cwd(bad, home)


def test_a_directory_reached_by_a_link_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "inner")
    assert resolve_cwd("link/..", str(tmp_path)) == f"{tmp_path}/link/.."


# -- signals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGINT", "INT", "int", "sigint", " 2 ", "2", 2])
def test_a_signal_is_known_by_all_its_names(name: str | int) -> None:
    assert signal_number(name) == 2


def test_real_time_signals_go_by_distance() -> None:
    assert signal_name(signal_number("RTMIN+3")) == "SIGRTMIN+3"
    assert signal_name(signal_number("sigrtmax")) == "SIGRTMAX"


@pytest.mark.parametrize("name", ["", "NOPE", "SIG_IGN", "0", 0, -9, "-9", 65, "RTMIN+99", "2.0", "RTMIN+x"])
def test_an_unknown_signal_is_refused_with_the_names(name: str | int) -> None:
    with pytest.raises(InvalidParams) as caught:
        signal_number(name)
    assert "TERM" in (caught.value.hint or "")
