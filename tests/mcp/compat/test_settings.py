"""That each of the settings has the effect its table says: those no other test of this directory is about."""

import json
import re
from pathlib import Path

import msgspec
import pytest
import trio
from tests.contract.local_endpoint import LocalClient
from tests.mcp.compat.conftest import PATIENCE_MS, Connect

from ptybridge.api import session as api
from ptybridge.api import terminal
from ptybridge.cli.mcp import speaker, usual_level
from ptybridge.mcp.settings import Settings

ROOT = Path(__file__).parents[3]
NO_EFFECT = {"gc_interval_sec", "read_chunk_bytes", "tmux_capture_dir", "state_dir"}
# Read before there is a connection, by `ptybridge mcp` itself.
OF_THE_PIPE = {"log", "log_format"}


@pytest.mark.parametrize(
    ("name", "value", "fact", "expected"),
    [
        ("IDLE_TIMEOUT_SEC", "100", "idle_timeout_ms", 100_000),
        ("IDLE_TIMEOUT_SEC", "0", "idle_timeout_ms", None),
        ("IDLE_GRACE_SEC", "5", "keep_ms", 5000),
        ("RING_MAX_BYTES", "262144", "max_output_bytes", 262_144),
        ("SPAWN_TIMEOUT_SEC", "50", "max_runtime_ms", 50_000),
        ("OUTPUT_RATE_BPS", "123456", "output_bytes_per_second", 123_456),
        ("INPUT_RATE_BPS", "234567", "input_bytes_per_second", 234_567),
    ],
)
async def test_limits_of_new_sessions(
    connect: Connect, human: LocalClient, name: str, value: str, fact: str, expected: int | None
) -> None:
    usual = await human.call(api.GET, session_id=await connect().spawn("sleep 60"))
    assert getattr(usual, fact) != expected
    changed = await human.call(api.GET, session_id=await connect(**{name: value}).spawn("sleep 60"))
    assert getattr(changed, fact) == expected


async def test_how_long_it_must_be_quiet(connect: Connect, human: LocalClient) -> None:
    client = connect(QUIESCENCE_MS="3600000")
    session = await client.spawn("stty -echo; echo before; read line; echo after")
    texts: list[str] = []

    async def read() -> None:
        texts.append(await client.text("pty_read_quiescent", session_id=session, owner="me", timeout_ms=PATIENCE_MS))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        # Longer than the usual 300 ms.
        await human.call(terminal.WAIT, session_id=session, until=[{"pattern": "before"}], timeout_ms=PATIENCE_MS)
        await human.call(terminal.WAIT, session_id=session, until=[{"idle_ms": 900}], timeout_ms=PATIENCE_MS)
        assert not texts
        await client.text("pty_write", session_id=session, owner="me", data="\n")
    assert texts == ["before\r\nafter\r\n"]


@pytest.mark.parametrize(("asked", "said"), [("warn", ["error", "warning"]), ("", ["error"])])
def test_what_the_pipe_says_and_how(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: str, said: list[str]
) -> None:
    monkeypatch.setenv("PTY_MCP_LOG", asked)
    monkeypatch.setenv("PTY_MCP_LOG_FORMAT", "json")
    say = speaker(usual_level())
    for level in ("error", "warning", "info", "debug"):
        say(level, "hello")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [one["level"] for one in lines] == said
    assert all((one.keys(), one["msg"]) == ({"ts", "level", "pid", "msg"}, "hello") for one in lines)


def test_every_setting_is_read_or_said_to_have_no_effect() -> None:
    sources = {one.name: one.read_text() for one in (ROOT / "src/ptybridge/mcp").glob("*.py")}
    itself = sources.pop("settings.py")
    others = "\n".join(sources.values())
    # Some are read by the settings' own properties, of which others make use.
    bodies = re.findall(r"@property\n    def (\w+)\(self\)[^\n]*\n(.*?)(?=\n    @property|\n\n\n)", itself, re.S)
    read = {name for name in Settings.__struct_fields__ if re.search(rf"settings\.{name}\b", others)}
    used = {name for name, _ in bodies if re.search(rf"settings\.{name}\b", others)}
    while True:
        inside = "\n".join(body for name, body in bodies if name in used)
        more = {name for name, _ in bodies if re.search(rf"self\.{name}\b", inside)} - used
        if not more:
            break
        used |= more
    read |= {name for name in Settings.__struct_fields__ if re.search(rf"self\.{name}\b", inside)}
    pipe = (ROOT / "src/ptybridge/cli/mcp.py").read_text()
    read |= {name for name in OF_THE_PIPE if f'"PTY_MCP_{name.upper()}"' in pipe}
    assert set(Settings.__struct_fields__) - read == NO_EFFECT


def test_the_guide_has_each_with_its_default() -> None:
    guide = (ROOT / "docs/agents.md").read_text()
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", guide, re.M))
    defaults = {
        one.name.upper(): "" if one.default is None else f"`{msgspec.json.encode(one.default).decode()}`"
        for one in msgspec.structs.fields(Settings)
    }
    assert {name: shown.replace('`"', "`").replace('"`', "`") for name, shown in defaults.items()} == rows
    silent = {name.lower() for name in re.findall(r"^\| `([A-Z_]+)` \| [^|]* \| no effect: ", guide, re.M)}
    assert silent == NO_EFFECT
