"""Shells as people have them: prompts of all kinds, options, login shells — the marks hold, and nothing of it shows."""

from pathlib import Path

import pytest
from tests.contract.endpoints import Client
from tests.contract.programs import PATIENCE_MS, until
from tests.contract.shells import awaits_keys, home_of, open_shell, run

from ptybridge.api import command, session, terminal

BASHRCS = {
    "string": "PROMPT_COMMAND='PS1=\"[$?] \"'",
    "array": "PROMPT_COMMAND=('A=1' 'PS1=\"[$?] \"')",
    "trailing semicolon": "PROMPT_COMMAND='A=1; '",
    "rebuilt": "PROMPT_COMMAND=build; build() { PS1=$'\\e[32mrebuilt\\e[0m\\n> '; }",
    "redrawn": "PS1='\\[\\e7\\e[999C\\e[5Dright\\e8\\]left> '",
    "ps0": "PS0='started at \\t\\n'",
    "nounset": "set -u",
    "errexit": "set -e",
    "noclobber": "set -C",
    "no promptvars": "shopt -u promptvars",
    "no history": "set +o history",
    "posix": "set -o posix",
    "vi": "set -o vi",
    "returns": "return 0",
    "debug trap": "trap ': $BASH_COMMAND' DEBUG",
    "own marks": "PS1='\\[\\e]133;A\\a\\]> \\[\\e]133;B\\a\\]'",
    "exported": "export PS1='> ' PROMPT_COMMAND=:",
    "before 4.4": "__ptyb_no_ps0=yes",
    "history control": "HISTCONTROL=ignoreboth:erasedups HISTTIMEFORMAT='%F %T '",
}


@pytest.mark.parametrize("flavour", BASHRCS)
async def test_prompts_and_options_of_bash(client: Client, tmp_path: Path, flavour: str) -> None:
    session_id = await open_shell(client, home_of(tmp_path, bashrc=BASHRCS[flavour] + "\n"))
    for _ in range(2):
        done = await run(client, session_id, "echo one")
        assert (done.reason, done.exit_code, done.via) == ("completed", 0, "marks")
        assert done.output == "one\n"
    if flavour != "errexit":
        done = await run(client, session_id, "sh -c 'exit 3'")
        assert (done.exit_code, done.output) == (3, "")
        # What the user's prompt shows of `$?` is still the command's.
        assert (await run(client, session_id, "echo $?")).output == "3\n"
    await client.call(terminal.WRITE, session_id=session_id, data="\r\r")
    # While bash deals with a key, an interrupt may take only a part of what was typed.
    await awaits_keys(client, session_id)
    await client.call(terminal.SEND_KEYS, session_id=session_id, keys=["ctrl-c"])
    subshell = "(echo sub)" if flavour not in {"before 4.4", "no promptvars"} else "echo sub"
    done = await run(client, session_id, subshell)
    assert done.output == "sub\n"
    listed = await client.call(command.LIST, session_id=session_id)
    if flavour != "no history":
        assert listed.commands[0].command == subshell
    texts = [one.command for one in listed.commands if one.command is not None]
    assert [one for one in texts if "ptyb" in one] == []


async def test_the_same_line_again_and_one_the_history_does_not_keep(client: Client, tmp_path: Path) -> None:
    session_id = await open_shell(client, home_of(tmp_path, bashrc="HISTCONTROL=ignoreboth\n"))
    for text in ["echo a", "echo a", " echo a", " echo secret", "echo b"]:
        await run(client, session_id, text)
    listed = await client.call(command.LIST, session_id=session_id)
    assert [one.command for one in reversed(listed.commands)] == ["echo a", "echo a", None, None, "echo b"]


async def test_nothing_of_it_shows(client: Client, tmp_path: Path, shell: str) -> None:
    """The screen is the one of a shell without integration; its history holds what was entered, and no more."""
    home = home_of(tmp_path, bashrc="PS1='> '\n", zshrc="PS1='> '\nHISTFILE=~/.history SAVEHIST=10\n")
    (home / ".config/fish").mkdir(parents=True)
    (home / ".config/fish/config.fish").write_text("function fish_prompt; printf '> '; end\n")
    pictures = []
    for integration in ("auto", "off"):
        env = {"HOME": str(home), "ZDOTDIR": None, "XDG_CONFIG_HOME": None, "XDG_DATA_HOME": None, "HISTFILE": None}
        info = await client.call(
            session.CREATE, command=[shell], env=env, cwd=str(home), shell_integration=integration, rows=24
        )
        waited = await client.call(
            terminal.WAIT, session_id=info.session_id, until=[{"screen": ">"}], timeout_ms=PATIENCE_MS
        )
        assert waited.reason != "timeout"
        await awaits_keys(client, info.session_id)
        await client.call(terminal.WRITE, session_id=info.session_id, data="echo $PTYBRIDGE_X hi; history\r")
        await until(client, info.session_id, "hi\r\n", offset=0)
        await awaits_keys(client, info.session_id)
        picture = await client.call(terminal.SCREEN, session_id=info.session_id)
        pictures.append((picture.lines, picture.cursor))
        assert not any("ptyb=" in line or "__ptyb" in line for line in picture.lines)
        await client.call(session.CLOSE, session_id=info.session_id, grace_ms=0)
        (home / ".bash_history").unlink(missing_ok=True)
    if shell != "fish":  # which remembers the line, and suggests it
        assert pictures[0] == pictures[1]


async def test_a_login_bash_reads_the_files_of_one(client: Client, tmp_path: Path) -> None:
    home = home_of(tmp_path, bashrc="FROM=rc", bash_profile="FROM=profile", profile="FROM=other")
    session_id = await open_shell(client, home, "bash", "-l")
    assert (await run(client, session_id, "echo $FROM")).output == "profile\n"
    info = await client.call(session.GET, session_id=session_id)
    assert info.command == ["bash", "-l"]


async def test_zsh_reads_its_files_where_the_user_has_them(client: Client, tmp_path: Path) -> None:
    home = home_of(tmp_path, zshrc="FROM=home")
    elsewhere = tmp_path / "zdot dir"
    elsewhere.mkdir()
    (elsewhere / ".zshenv").write_text("ENVIRONMENT=read\nsetopt no_unset\n")
    (elsewhere / ".zshrc").write_text("FROM=zdotdir\nsetopt prompt_subst\nPS1='%~ %# '\nRPS1='right'\n")
    session_id = await open_shell(client, home, "zsh", env={"ZDOTDIR": str(elsewhere)})
    done = await run(client, session_id, "echo $FROM $ENVIRONMENT $ZDOTDIR")
    assert done.output == f"zdotdir read {elsewhere}\n"
    other = await open_shell(client, home, "zsh", "-l")
    assert (await run(client, other, "echo $FROM ${ZDOTDIR-unset}")).output == "home unset\n"


async def test_fish_gets_its_data_directories_back(client: Client, tmp_path: Path) -> None:
    home = home_of(tmp_path)
    session_id = await open_shell(client, home, "fish", env={"XDG_DATA_DIRS": "/usr/share:/opt/x"})
    assert (await run(client, session_id, "sh -c 'echo $XDG_DATA_DIRS'")).output == "/usr/share:/opt/x\n"
    other = await open_shell(client, home, "fish", env={"XDG_DATA_DIRS": None})
    assert (await run(client, other, "set -q XDG_DATA_DIRS; or echo unset")).output == "unset\n"


async def test_a_prompt_that_breaks_the_marks_is_noticed(client: Client, tmp_path: Path) -> None:
    session_id = await open_shell(client, home_of(tmp_path))
    done = await run(client, session_id, "PROMPT_COMMAND= PS0= PS1='mine> '", timeout_ms=1500)
    assert done.reason in {"needs_input", "timeout"}
    done = await run(client, session_id, "echo still; false")
    assert (done.reason, done.via, done.output, done.exit_code) == ("completed", "markers", "still\n", 1)


async def test_exec_of_another_shell_is_noticed(client: Client, tmp_path: Path) -> None:
    session_id = await open_shell(client, home_of(tmp_path))
    assert (await run(client, session_id, "exec bash --norc")).reason == "needs_input"
    done = await run(client, session_id, "echo new; false")
    assert (done.reason, done.via, done.output, done.exit_code) == ("completed", "markers", "new\n", 1)


async def test_integration_can_be_left_out(client: Client, tmp_path: Path) -> None:
    info = await client.call(session.CREATE, command=["bash"], env={"HOME": str(tmp_path)}, shell_integration="off")
    assert info.shell_integration == "off"
    assert (await run(client, info.session_id, "echo x")).via == "markers"
    assert (await client.call(command.LIST, session_id=info.session_id)).integration == "off"
