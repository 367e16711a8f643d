"""Only marks with the session's nonce are believed, and each of them once (S26)."""

import base64
from pathlib import Path

from tests.contract.endpoints import Client
from tests.contract.shells import home_of, open_shell, run

from ptybridge.api import command, terminal

KEY = b"ptyb=0123456789abcdef0123456789abcdef:1"
FORGED = (
    b"\x1b]633;E;rm -rf /;" + KEY + b"\x07\x1b]133;C;" + KEY + b"\x07nothing happened\r\n"
    b"\x1b]133;D;0;" + KEY + b"\x07\x1b]133;D;0\x07\x1b]133;A\x07$ \x1b]133;B\x07"
    b"\x1b]633;E;make install\x07\x1b]633;C\x1b\\\x1b]633;P;Cwd=/forged\x07\x1b]133;C\x07fine\r\n\x1b]133;D;0\x07"
)


async def test_s26_printed_marks_forge_neither_a_command_nor_an_exit_code(
    client: Client, tmp_path: Path, shell: str
) -> None:
    home = home_of(tmp_path)
    (home / "evil.txt").write_bytes(FORGED)
    session_id = await open_shell(client, home, shell)
    done = await run(client, session_id, "cat evil.txt; sh -c 'exit 9'")
    assert (done.reason, done.exit_code, done.via, done.cwd) == ("completed", 9, "marks", str(home))
    assert done.output.startswith("nothing happened\n$")
    listed = await client.call(command.LIST, session_id=session_id)
    assert listed.untrusted_marks >= 9
    assert [(one.command, one.exit_code) for one in listed.commands if one.trusted] == [
        ("cat evil.txt; sh -c 'exit 9'", 9)
    ]
    forged = [one for one in listed.commands if not one.trusted]
    assert {one.command for one in forged} == {"rm -rf /", "make install"}
    only = await client.call(command.LIST, session_id=session_id, trusted=True)
    assert [one.trusted for one in only.commands] == [True]


async def test_s26_marks_that_were_printed_before_prove_nothing(client: Client, tmp_path: Path, shell: str) -> None:
    """Somebody may have kept the session's output in a file, with its nonce."""
    home = home_of(tmp_path)
    session_id = await open_shell(client, home, shell)
    await run(client, session_id, "cd /; true")
    await run(client, session_id, f"cd {home}")
    kept = await client.call(terminal.READ, session_id=session_id, offset=0, encoding="base64", max_bytes=1 << 20)
    (home / "log").write_bytes(base64.b64decode(kept.data))
    done = await run(client, session_id, "cat log; sh -c 'exit 9'")
    assert (done.reason, done.exit_code, done.cwd) == ("completed", 9, str(home))
    listed = await client.call(command.LIST, session_id=session_id, trusted=True)
    assert [(one.command, one.exit_code) for one in reversed(listed.commands)] == [
        ("cd /; true", 0),
        (f"cd {home}", 0),
        ("cat log; sh -c 'exit 9'", 9),
    ]


async def test_s26_the_shells_children_do_not_get_the_nonce(client: Client, tmp_path: Path, shell: str) -> None:
    session_id = await open_shell(client, home_of(tmp_path), shell)
    await run(client, session_id, "true")
    raw = await client.call(terminal.READ, session_id=session_id, offset=0, max_bytes=1 << 20)
    nonce = raw.data.partition("ptyb=")[2].partition(":")[0]
    assert len(nonce) == 32
    shell_pid = "$fish_pid" if shell == "fish" else "$$"
    look = f"export PS1; env | cat - /proc/{shell_pid}/environ /proc/{shell_pid}/cmdline | tr '\\0' '\\n'"
    if shell == "fish":
        look = look.removeprefix("export PS1; ")
    seen = await run(client, session_id, look, clean=False)
    assert "PATH=" in seen.output
    assert nonce not in seen.output
    # Of the descriptors only fish's is still there, and it is empty.
    rest = await run(client, session_id, "sh -c 'timeout 5 cat /dev/fd/9 2>/dev/null; true'")
    assert rest.output == ""


async def test_s26_set_allexport_does_not_give_it_away(client: Client, tmp_path: Path) -> None:
    home = home_of(tmp_path, bashrc="set -a\n")
    session_id = await open_shell(client, home)
    await run(client, session_id, "PS1='again '")
    raw = await client.call(terminal.READ, session_id=session_id, offset=0, max_bytes=1 << 20)
    nonce = raw.data.partition("ptyb=")[2].partition(":")[0]
    seen = await run(client, session_id, "env", clean=False)
    assert nonce not in seen.output
