"""The tutorial and the cookbook are true: their programs run as they stand there."""

import re
from pathlib import Path

import pytest
from tests.sdk.conftest import Node

DOCS = Path(__file__).parents[2] / "docs"
RECIPES = re.findall(r"^## (.*?)$.*?```python\n(.*?)```", (DOCS / "cookbook.md").read_text("utf-8"), re.S | re.M)


@pytest.fixture(autouse=True)
def here(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTYBRIDGE_SOCKET", node.socket)
    monkeypatch.chdir(tmp_path)


def test_the_tutorial_runs_from_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    page = DOCS / "tutorial.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 10
    exec(compile("\n".join(blocks), str(page), "exec"), {})
    assert "step 3 of 3" in capsys.readouterr().out


@pytest.mark.parametrize(("title", "program"), RECIPES, ids=[title for title, _ in RECIPES])
def test_a_recipe_runs(title: str, program: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(program, title, "exec"), {})
    if title == "Follow logs":
        assert "worker: ERROR" in capsys.readouterr().out


def test_the_recipe_for_ssh_works_with_any_program_that_carries_bytes(node: Node) -> None:
    program = dict(RECIPES)["A machine behind ssh"]
    space: dict[str, object] = {}
    exec(compile(program, "cookbook", "exec"), space)
    carry = (
        "import os, select, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "while True:\n"
        "    for one in select.select([0, s], [], [])[0]:\n"
        "        data = os.read(0, 65536) if one == 0 else s.recv(65536)\n"
        "        if not data: sys.exit()\n"
        "        s.sendall(data) if one == 0 else os.write(1, data)\n"
    )
    call = "with Client.from_transport(through(*command)) as client: out = client.terminal.execute('echo there').text"
    space["command"] = ("python3", "-c", carry, node.socket)
    exec(call, space)
    assert space["out"] == "there\n"
    exec("for one in carriers: one.wait(60)", space)


@pytest.mark.parametrize("page", ["sdk.md", "tutorial.md", "cookbook.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", (DOCS / page).read_text(encoding="utf-8")):
        assert (DOCS / target).exists(), target
