"""The program as a whole: help, lazy imports, errors and their exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.cli.fake_daemon import FakeDaemon, daemon, session

from ptybridge import errors
from ptybridge.cli import exits
from ptybridge.cli.command import Command, Group
from ptybridge.cli.program import COMMANDS, MODULES, program, run
from ptybridge.cli.wording import other_name

__all__ = ["daemon"]

# What speaks to a person at a terminal, or runs another program, has nothing to say in JSON.
WITHOUT_JSON = {"attach", "run", "serve", "completion", "reset", "mcp", "cat"}
PAGES = sorted(MODULES)


def commands(name: str) -> list[Command]:
    """The command of a name, or those below it."""
    found = program.get_command(program.make_context("ptybridge", ["version"]), name)
    below = list(found.commands.values()) if isinstance(found, Group) else [found]
    known = [one for one in below if isinstance(one, Command)]
    assert len(known) == len(below) > 0
    return known


@pytest.mark.parametrize("name", PAGES)
def test_every_command_has_an_example_in_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    page = capsys.readouterr().out
    assert "Examples:" in page
    example = page.partition("Examples:")[2]
    assert f"ptybridge {name}" in example


@pytest.mark.parametrize("name", PAGES)
def test_every_command_has_json_where_it_makes_sense(name: str) -> None:
    for one in commands(name):
        options = {option for param in one.params for option in param.opts}
        assert ("--json" in options) is (one.name not in WITHOUT_JSON)
        assert {"--socket", "--config", "--no-autostart"} <= options


@pytest.mark.parametrize("name", PAGES)
def test_help_fits_a_narrow_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run([name, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_help_of_the_program_imports_no_command() -> None:
    code = "import sys; from ptybridge.cli.program import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split()
    modules = {f"ptybridge.cli.{module}" for module in MODULES.values()}
    assert not modules & set(loaded)


@pytest.mark.parametrize("group", COMMANDS)
def test_help_of_the_program_lists_every_command(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    page = capsys.readouterr().out
    assert f"{group}:" in page
    for name, (_, summary) in COMMANDS[group].items():
        assert f"  {name}" in page
        assert summary in page


# S: an import of one of these costs more than a whole `ls`.
@pytest.mark.parametrize("arguments", [["ls"], ["attach", "build"], ["send", "build", "x"], ["wait", "build"]])
def test_light_commands_import_nothing_heavy(arguments: list[str], daemon: FakeDaemon) -> None:
    daemon.result("session.list", {"sessions": [session()]})
    code = (
        f"import sys; sys.argv = ['ptybridge', *{arguments!r}]\nfrom ptybridge.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    loaded = {name.partition(".")[0] for name in ran.stderr.split()}
    assert "ptybridge" in loaded
    assert not loaded & {"trio", "rich", "hypercorn", "quart", "pyghostty", "cffi", "mcp", "subprocess", "asyncio"}


def test_p8_the_usual_ls_imports_neither_click_nor_msgspec(daemon: FakeDaemon) -> None:
    daemon.result("session.list", {"sessions": [session()]})
    code = (
        "import sys; sys.argv = ['ptybridge', 'ls']\nfrom ptybridge.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[1].startswith("s1  build  running")
    assert not {"click", "msgspec"} & set(ran.stderr.split())


def test_every_error_has_an_exit_code() -> None:
    codes = {name: exits.exit_code_of(kind("x")) for name, kind in errors.BY_CODE.items()}
    assert set(codes.values()) == {1, 2, 3, 4, 5}
    assert codes["session_not_found"] == 3
    assert codes["daemon_unreachable"] == 4
    assert codes["name_taken"] == 5
    assert codes["lease_held"] == 5
    assert codes["invalid_params"] == codes["config_invalid"] == 2
    assert codes["internal_error"] == 1


def test_exit_codes_stand_in_one_module_and_in_the_guide() -> None:
    guide = Path(__file__).parents[2].joinpath("docs/cli.md").read_text()
    table = guide.partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    codes = {value for name, value in vars(exits).items() if name.startswith("EXIT_")}
    assert {130, 141} < codes
    assert [code for code in codes if not re.search(rf"\b{code}\b", table)] == []
    for path in Path(exits.__file__).parent.glob("*.py"):
        assert path.name == "exits.py" or not re.search(r"(?m)^EXIT_\w+\b.*=|^ +return [1-9]$", path.read_text()), path


@pytest.mark.parametrize(("number", "code"), [(2, 127), (13, 126), (8, 126), (12, 1), (None, 1)])
def test_a_program_that_cannot_be_started_gives_the_status_of_a_shell(number: int | None, code: int) -> None:
    assert exits.exit_code_of(errors.SpawnFailed("x", errno=number)) == code


@pytest.mark.parametrize(
    ("exit_code", "exit_signal", "status"),
    [(0, None, 0), (7, None, 7), (None, "SIGKILL", 137), (None, None, 1), (None, "SIGWHAT", 128)],
)
def test_the_status_of_a_child(exit_code: int | None, exit_signal: str | None, status: int) -> None:
    assert exits.status_of(exit_code, exit_signal) == status


def test_an_error_is_one_line_and_a_hint(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.error("session.list", "denied", "not for\nyou\x1b[2J", hint="ask somebody")
    assert run(["info", "build"]) == 5
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "ptybridge: not for you[2J\n  hint: ask somebody\n"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["lsx"], "did you mean ls?"),
        (["ls", "--nope"], "No such option"),
        (["new", "-A"], "-A needs --name"),
        (["new", "--size", "80"], "write it as 80x24"),
        (["new", "--size", "80x0"], "write it as 80x24"),
        (["close"], "give a TARGET"),
        (["close", "a", "--all"], "give a TARGET"),
        (["rename", "a"], "give a name"),
        (["call", "session.list", "x"], "neither K=V nor K:=JSON"),
        (["call", "session.attach"], "`ptybridge attach`"),
        (["config", "get", "sockt"], "did you mean socket?"),
        (["config", "get", "scrollback_lines"], "could be"),
        (["run"], "give a command"),
        (["run", "-c", "x", "y"], "either -c CMD or a command"),
    ],
)
def test_a_wrong_command_line_exits_with_2(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str], daemon: FakeDaemon
) -> None:
    daemon.result("session.list", {"sessions": [session(name="a")]})
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("ptybridge: ")
    assert part in err
    assert "Traceback" not in err


def test_a_mistake_in_the_configuration_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[attach]\nhnt = true\n")
    assert run(["--config", str(path), "ls"]) == 2
    assert f"{path}:2: there is no setting 'hnt' in [attach] (did you mean hint?)" in capsys.readouterr().err


def test_without_a_daemon_and_without_autostart_the_code_is_4(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ls", "--no-autostart"]) == 4
    assert "start one with `ptybridge serve`" in capsys.readouterr().err
    assert run(["--no-autostart", "read", "x"]) == 4


def test_options_of_the_program_may_stand_before_or_behind_the_command(tmp_path: Path) -> None:
    runs = [["--socket", str(tmp_path / "d/x"), "status"], ["status", "--socket", str(tmp_path / "d/x")]]
    assert [run(arguments) for arguments in runs] == [4, 4]


def test_an_unknown_variable_only_warns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PTYBRIDGE_SOKET", "/x")
    assert run(["config", "get", "daemon.log_files"]) == 0
    out, err = capsys.readouterr()
    assert out == "5\n"
    assert err == "ptybridge: PTYBRIDGE_SOKET is not a variable of ptybridge (did you mean PTYBRIDGE_SOCKET?)\n"


def test_output_into_a_closed_pipe_is_silent(daemon: FakeDaemon) -> None:
    daemon.result("session.list", {"sessions": [session(session_id=f"s{n}") for n in range(3000)]})
    for options in ("", "--json", "--running"):
        line = f"{sys.executable} -m ptybridge ls {options} | head -n 1; echo ${{PIPESTATUS[0]}}"
        ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
        assert ran.stderr == ""
        assert ran.stdout.splitlines()[-1] == "141"


@pytest.mark.parametrize("command", ["tail -f s1", "events", "call event.follow"])
def test_who_follows_something_silent_ends_with_the_reader_of_its_output(daemon: FakeDaemon, command: str) -> None:
    piece = {"data": "", "encoding": "base64", "offset": 0, "next_offset": 0, "missed_bytes": 0, "eof": False}
    daemon.result("session.list", {"sessions": [session()]})
    daemon.result("session.read", {**piece, "lossy": False})
    asked = threading.Event()
    opened = {"offset": 0, "rows": 24, "cols": 80, "number": 0}

    def silent(request: dict[str, object]) -> list[dict[str, object]]:
        asked.set()
        return [{"jsonrpc": "2.0", "id": request["id"], "result": {"stream_id": "x", **opened}}]

    daemon.raw("session.follow", silent)
    daemon.raw("event.follow", silent)
    line = [sys.executable, "-m", "ptybridge", *command.split()]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as follower:
        assert asked.wait(60)
        assert follower.stdout is not None
        follower.stdout.close()
        assert follower.stderr is not None
        assert (follower.stderr.read(), follower.wait(60)) == (b"", 141)


@pytest.mark.parametrize("command", ["ls", "ls --running", "info s1", "call session.list", "--help"])
@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(daemon: FakeDaemon, command: str, streams: str) -> None:
    daemon.result("session.list", {"sessions": [session()]})
    daemon.result("session.get", session())
    line = f"{sys.executable} -m ptybridge {command} {streams}; exit $?"
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert "Traceback" not in ran.stderr
    assert ran.returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_name_can_be_printed_in_every_encoding(daemon: FakeDaemon, encoding: str) -> None:
    known = session(name="größe日本")
    daemon.result("session.list", {"sessions": [known]})
    daemon.result("session.get", known)
    for command in (["ls"], ["ls", "--running"], ["info", "s1"], ["info", "ö"], ["--help"]):
        ran = _encoded(encoding, command)
        assert b"Traceback" not in ran.stderr
        assert ran.returncode == (3 if command[-1] == "ö" else 0)
    for command in (["ls", "--json"], ["info", "s1", "--json"], ["call", "session.get", "session_id=s1"]):
        answer = json.loads(_encoded(encoding, command).stdout.decode(encoding))
        assert (answer if isinstance(answer, dict) else answer[0])["name"] == "größe日本"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("encoding", "printed"), [("utf-8:surrogateescape", b"/\xff\n"), ("utf-8:strict", b"/?\n")])
def test_names_of_files_that_are_no_text_can_be_printed(encoding: str, printed: bytes, unbuffered: str) -> None:
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUNBUFFERED": unbuffered}
    line = [sys.executable, "-m", "ptybridge", "--config", os.fsdecode(b"/\xff"), "config", "path"]
    ran = subprocess.run(line, env=env, capture_output=True, check=True)
    assert ran.stdout == printed


def _encoded(encoding: str, command: list[str]) -> "subprocess.CompletedProcess[bytes]":
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run([sys.executable, "-m", "ptybridge", *command], env=env, capture_output=True, check=False)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", [["read", "s1"], ["read", "s1", "--json"]])
def test_output_that_was_written_in_part_counts_as_unwritten(
    daemon: FakeDaemon, command: list[str], unbuffered: str
) -> None:
    much = {"data": "eHh4" * 200_000, "encoding": "base64", "offset": 0, "next_offset": 600_000}
    daemon.result("session.list", {"sessions": [session(end_offset=600_000)]})
    daemon.result("session.read", {**much, "missed_bytes": 0, "eof": True, "lossy": False})
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    line = [sys.executable, "-m", "ptybridge", *command]
    with subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        assert reader.stdout.read(1)
        reader.stdout.close()
        assert (reader.stderr.read(), reader.wait(60)) == (b"", 141)


def test_ctrl_c_is_quiet(daemon: FakeDaemon) -> None:
    asked = threading.Event()
    daemon.result("session.list", {"sessions": [session()]})

    def never(request: object) -> list[dict[str, object]]:
        asked.set()
        return []

    daemon.raw("session.wait", never)
    with subprocess.Popen([sys.executable, "-m", "ptybridge", "wait", "build"], stderr=subprocess.PIPE) as waiting:
        assert asked.wait(60)
        # It sleeps, so it waits for the answer: a signal just before that system call would be noticed only behind it.
        deadline = time.monotonic() + 60
        while Path(f"/proc/{waiting.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, err) == (130, b"")


@pytest.mark.parametrize(
    "command",
    [["ls"], ["ls", "--json"], ["ls", "-q"], ["info", "build"], ["version"], ["ops"], ["--help"], ["read", "s1"]],
)
def test_a_full_disk_is_an_error_in_one_line(daemon: FakeDaemon, command: list[str]) -> None:
    daemon.result("session.list", {"sessions": [session()]})
    daemon.result("session.get", session())
    printed = {"data": "eA==", "encoding": "base64", "offset": 0, "next_offset": 1, "end_offset": 1, "start_offset": 0}
    daemon.result("session.read", {**printed, "missed_bytes": 0, "eof": True, "lossy": False})
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ptybridge", *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.stderr == "ptybridge: the output cannot be written: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("line", [["run", "ls", "-l"], ["new", "-d", "bash", "-l"], ["policy", "check", "rm", "-rf"]])
def test_an_option_of_a_command_is_told_where_to_stand(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line) == 2
    assert "what belongs to CMD comes behind `--`" in capsys.readouterr().err


@pytest.mark.parametrize("line", [[], ["file"], ["key"], ["share"]])
def test_a_command_that_needs_another_word_shows_its_help(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line) == 2
    shown = capsys.readouterr().err
    assert run([*line, "--help"]) == 0
    assert shown == capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "part"),
    [("kill", "called 'close'"), ("kill-server", "called 'stop'"), ("start", "called 'new'"), ("ps", "called 'ls'"),
     ("logs", "called 'tail'"), ("detach", "press Ctrl-\\ and then d")],
)  # fmt: skip
def test_the_words_of_other_programs_lead_to_ours(word: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([word, "x"]) == 2
    assert part in capsys.readouterr().err


def test_no_word_of_another_program_is_one_of_ours() -> None:
    assert [word for word in MODULES if other_name(word) is not None] == []


@pytest.mark.parametrize("line", [[], ["ls"], ["file", "cp"]])
def test_help_is_also_a_word(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", *line]) == 0
    shown = capsys.readouterr().out
    assert run([*line, "--help"]) == 0
    assert shown == capsys.readouterr().out


def test_a_misspelt_word_of_a_command_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["file", "lss"]) == 2
    assert "there is no command 'lss' (did you mean ls?)" in capsys.readouterr().err


@pytest.mark.parametrize("name", PAGES)
def test_no_help_is_cut_or_speaks_of_types(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run([name, "--help"])
    page = capsys.readouterr().out
    assert "..." not in page.replace("]...", "").replace("KEY...", "")
    assert "RANGE" not in page


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (["wait", "a", "--timeout", "x"], "'x' is no number"),
        (["tail", "a", "-n", "x"], "'x' is no whole number"),
        (["lease", "handoff", "a"], "--to CLIENT"),
        (["lease", "status", "a", "--to", "b"], "--to goes with handoff"),
    ],
)
def test_what_is_wrong_is_said_in_words(line: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line) == 2
    assert part in capsys.readouterr().err


def test_a_hint_names_the_options_of_the_command(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.error("file.delete", "is_a_directory", "/x is a directory that is not empty", hint="give `recursive`")
    assert run(["file", "rm", "/x"]) == 5
    assert "hint: give `--recursive`" in capsys.readouterr().err
    daemon.error("file.mkdir", "file_exists", "/x is there", hint="give `overwrite`, or choose another name")
    assert run(["file", "mkdir", "/x"]) == 5
    assert "hint: give `overwrite`, or" in capsys.readouterr().err
    daemon.error("file.move", "file_exists", "/x is there", hint="give `overwrite`, or choose another name")
    assert run(["file", "mv", "/y", "/x"]) == 5
    assert "hint: give `--force`, or" in capsys.readouterr().err


def test_a_hint_names_the_command_of_an_operation(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.result("session.list", {"sessions": [session()]})
    daemon.error("session.send_keys", "invalid_params", "there is no key 'hello'", hint="Text is for `session.write`")
    assert run(["keys", "s1", "hello"]) == 2
    assert "hint: Text is for `ptybridge send`" in capsys.readouterr().err


def test_call_by_a_name_says_that_it_takes_ids(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.error("session.get", "session_not_found", "there is no session 'main'", hint="`ptybridge ls`")
    assert run(["call", "session.get", "session_id=main"]) == 3
    assert "take a session's id, not its name" in capsys.readouterr().err
    daemon.error(
        "session.recover", "session_not_found", "no session in tmux has the name 'main'", hint="`ptybridge ls`"
    )
    assert run(["call", "session.recover", "name=main", "owner=me"]) == 3
    assert "hint: `ptybridge ls`" in capsys.readouterr().err


def test_an_option_that_is_not_there_leads_to_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ls", "--nothing"]) == 2
    assert "see `ptybridge ls --help`" in capsys.readouterr().err
