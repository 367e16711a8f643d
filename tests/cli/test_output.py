"""Tables on terminals of every width."""

import pytest

from ptybridge.cli import output

HEAD = ("ID", "NAME", "STATE", "CLIENTS", "AGE", "COMMAND")
ROWS = [
    ("qxcr7rfm", "main", "running", "2", "12m", "/bin/bash"),
    ("mk987b5c", "日本-and-a-long-name", "exit 0", "-", "10m", "make --keep-going test lint docs"),
]


def shown(monkeypatch: pytest.MonkeyPatch, columns: int) -> list[str]:
    monkeypatch.setattr(output, "terminal_columns", lambda: columns)
    return output.table(HEAD, [[(text, "") for text in row] for row in ROWS], ("CLIENTS", "AGE"))


@pytest.mark.parametrize("columns", range(20, 100, 3))
def test_no_line_of_a_table_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    lines = shown(monkeypatch, columns)
    assert len(lines) == 3
    assert max(map(output.cells, lines)) <= columns


def test_a_narrow_terminal_does_without_what_matters_least(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, 200)[0].split() == list(HEAD)
    assert shown(monkeypatch, 200)[2].endswith("test lint docs")
    assert shown(monkeypatch, 65)[0].split() == ["ID", "NAME", "STATE", "AGE", "COMMAND"]
    assert shown(monkeypatch, 54)[0].split() == ["ID", "NAME", "STATE", "COMMAND"]
    narrow = shown(monkeypatch, 40)
    assert narrow[0].split() == ["ID", "NAME", "STATE", "COMMAND"]
    assert narrow[1].split() == ["qxcr7rfm", "main", "running", "/bin/bash"]
    assert narrow[2].startswith("mk987b5c  日本")
    assert narrow[2].endswith("…")


def test_the_id_is_the_last_to_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(line.startswith(row[0]) for line, row in zip(shown(monkeypatch, 26)[1:], ROWS, strict=True))
