"""Dialogues with real programs, by the command and by the SDK; the guide's examples run as they stand there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from tests.sdk.conftest import PATIENCE_SECONDS, Node

from ptybridge import EXITED, AsyncClient, Client
from ptybridge.errors import InvalidParams
from ptybridge.sdk.dialogue import Outcome, Traced, fetch_secrets, play, play_async
from ptybridge.sdk.script import parse

GUIDE = (Path(__file__).parents[2] / "docs" / "expect.md").read_text("utf-8")
VALUE = "hunter2-and-more"
# Asks as passwd does: without echo, twice, and compares.
PASSWD = "import getpass as g; a=g.getpass('New: '); b=g.getpass('Again: '); print('updated' if a == b else 'differ')"
# Asks as ssh does, in the order of its questions, and prints what it was told.
SSH = "printf 'continue (yes/no)? '; read a; printf 'password: '; read p; echo \"got $p\"; PS1='$ ' exec sh -i"


def expect(node: Node, script: str, *options: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "ptybridge", "expect", "-", *options],
        input=script, env={**node.env, **env}, capture_output=True, text=True, timeout=PATIENCE_SECONDS,
    )  # fmt: skip


def test_the_guides_examples_work(node: Node) -> None:
    scripts = re.findall(r"```expect\n(.*?)```", GUIDE, re.DOTALL)
    assert len(scripts) == 3
    for script in scripts:
        done = expect(node, script, INSTALL_PASSWORD=VALUE)
        assert done.returncode == 0, done.stderr


def test_the_guides_program_works(
    node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PTYBRIDGE_SOCKET", node.socket)
    program = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)[0]
    exec(compile(program, "expect.md", "exec"), {})
    assert capsys.readouterr().out.startswith("done ['line \"hello\"',")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_asynchronous_client_plays_the_same(node: Node, backend: str) -> None:
    text = (
        f"spawn sh -c {json.dumps(SSH)}\ndefine pw env PW\ntimeout 60\n"
        'expect any\n  "(yes/no)? "\n    line "yes"\n    again\n  "password: "\n    secret pw\n    again\n  /got .*/\n'
        'line "exit"\nexpect exit\nsend "more"\n'
    )
    script = parse(text, "both.expect")
    secrets = fetch_secrets(script, {"PW": VALUE})
    told: list[Traced] = []

    async def asynchronously() -> Outcome:
        async with AsyncClient.local(socket=node.socket, start=False) as client:
            async with await client.sessions.create(list(script.command)) as session:
                return await play_async(session, script, secrets, told.append)

    outcomes = [anyio.run(asynchronously, backend=backend)]
    with (
        Client.local(socket=node.socket, start=False) as client,
        client.sessions.create(list(script.command)) as session,
    ):
        outcomes.append(play(session, script, secrets))
    for one in outcomes:
        assert (one.reason, one.line, one.message) == ("exited", 14, "the program has ended, and takes no input")
    taken = [[(step.line, step.did, step.result) for step in one.steps] for one in outcomes]
    assert taken[0] == taken[1]
    assert [step.line for step in told] == [line for line, _, _ in taken[0]]
    assert VALUE not in str([one.steps for one in outcomes])


def test_a_shell_is_talked_with(node: Node) -> None:
    script = 'spawn bash --norc --noprofile\nline "echo $((6*7))"\nexpect "42"\nline "exit 3"\nexpect exit\n'
    done = expect(node, script, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["reason"] == "done"
    assert [one["line"] for one in told["steps"]] == [2, 3, 4, 5]


def test_secrets_are_typed_and_shown_nowhere(node: Node, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{VALUE}\n")
    for source in ("env A_SECRET", f"file {tmp_path / 'secret'}", f"command cat {tmp_path / 'secret'}"):
        script = (
            f"spawn sh -c {json.dumps(SSH)}\ndefine pw {source}\ntimeout 20\n".replace('\\"', '\\"')
            + 'expect any\n  "(yes/no)? "\n    line "yes"\n    again\n  "password: "\n    secret pw\n    again\n'
            + '  /got .*/\n  "denied"\n    fail "denied"\nline "env"\nline "echo end-$((1+1))"\nexpect "end-2"\n'
            + 'expect "never printed" within 0.3\n'
        )
        for options in ((), ("-v",), ("--json",)):
            done = expect(node, script, *options, A_SECRET=VALUE)
            assert done.returncode == 124, done.stderr
            assert VALUE not in done.stdout + done.stderr
            # It was there, and is named.
            assert "--json" not in options or "[secret pw]" in done.stdout


def test_a_password_is_set_as_passwd_does(node: Node) -> None:
    script = f'spawn python3 -c {json.dumps(PASSWD)}\ndefine pw env PW\nexpect "New: "\nsecret pw\nexpect "Again: "\n'
    done = expect(node, script + 'secret pw\nexpect any\n  "updated"\n  "differ"\n    fail "they differ"\n', PW=VALUE)
    assert done.returncode == 0, done.stderr


def test_what_fails_says_where_and_what_was_seen(node: Node) -> None:
    # What is seen has to be there within the second, so the program has begun before it does.
    late = expect(node, 'spawn sh -c "echo up; echo disk full; sleep 60"\nexpect "up"\nexpect "Accept? " within 1\n')
    assert late.returncode == 124
    assert '-:3: "Accept? " was not seen within 1 s' in late.stderr
    assert "| disk full" in late.stderr
    gone = expect(node, 'spawn sh -c "echo no space"\nexpect "Accept? "\n')
    assert gone.returncode == 1
    assert "before the program ended" in gone.stderr
    assert "| no space" in gone.stderr
    bad = expect(node, 'spawn echo oops\nexpect any\n  "oops"\n    fail "it went wrong"\n')
    assert (bad.returncode, "-:4: it went wrong" in bad.stderr) == (1, True)


def test_nothing_is_started_when_something_is_wrong(node: Node) -> None:
    for script, said in [
        ('spawn cat\nlines "a"\n', "-:2: 'lines' is no statement"),
        ('spawn cat\ndefine pw env NOT_SET\nline "a"\n', "-:2: the secret pw: the variable NOT_SET is not set"),
        ('spawn cat\ndefine pw ask "PIN: "\nline "a"\n', "-:2: the secret pw: a human is to be asked"),
        ('line "a"\n', "--in TARGET"),
    ]:
        done = expect(node, script)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
    assert expect(node, 'spawn cat\nline "a"\n', "--check").returncode == 0


def test_a_session_that_is_there_is_talked_with_and_stays(node: Node) -> None:
    with Client.local(socket=node.socket) as client:
        with client.sessions.create(["cat"], name="talk") as session:
            session.write_line("before")
            session.expect("before")
            done = expect(
                node, 'line "now"\nexpect any within 20\n  "before"\n    fail "old"\n  "now"\n', "--in", "talk"
            )
            assert done.returncode == 0, done.stderr
            assert session.get().state == "running"


def test_pipes_get_lines_as_in_files(node: Node) -> None:
    script = parse('line "a b"\nexpect "a b"\n')
    with Client.local(socket=node.socket) as client:
        with client.sessions.create(["cat"], backend="pipes") as session:
            outcome = play(session, script, {})
    assert outcome.reason == "done"
    assert outcome.steps[1].seen == "a b"


def test_a_value_that_is_cut_at_either_end_is_not_shown(node: Node) -> None:
    script = parse('define pw env PW\nline "hunter2-and-more"\nexpect "r2-a"\nexpect "re"\n')
    with Client.local(socket=node.socket) as client:
        with client.sessions.create(["cat"]) as session:
            outcome = play(session, script, fetch_secrets(script, {"PW": VALUE}))
    assert [one.seen for one in outcome.steps[1:]] == ["[secret pw]", "[secret pw]"]


def test_a_secret_has_one_line() -> None:
    script = parse("define pw env PW\nsecret pw\n")
    for value in ("", "a\nb", "a\rb"):
        with pytest.raises(InvalidParams, match="one line"):
            fetch_secrets(script, {"PW": value})


def test_a_human_is_asked_at_the_terminal(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "ask.expect"
    ask = "spawn python3 -c 'import getpass; print(len(getpass.getpass(\"Key: \")))'\n"
    path.write_text(f'{ask}define pin ask "PIN, please: "\nexpect "Key: "\nsecret pin\nexpect "{len(VALUE)}"\n')
    with Client.local(socket=node.socket) as client:
        command = [sys.executable, "-m", "ptybridge", "expect", "-v", str(path)]
        with client.sessions.create(command, env=dict(node.env)) as session:
            session.expect("PIN, please: ")
            session.write_line(VALUE)
            # Nothing of it is echoed, and the steps that are told do not have it.
            ended = session.expect(EXITED, timeout=PATIENCE_SECONDS)
            info = session.get()
    assert info.exit_code == 0, ended.before
    assert "secret pin" in ended.before
    assert VALUE not in ended.before
