"""Each row of pty-mcp's comparison table and each of its known defects is watched by a test of its name."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
# What its table lists as 82 (no dependencies at run time) and 83 (Python 3.10) is not taken over.
ROWS = set(range(1, 87)) - {82, 83}
DEFECTS = set(range(1, 32))


def names() -> set[str]:
    """Return the names of all tests there are."""
    files = [*TESTS.rglob("test_*.py"), TESTS.parent / "src/ptybridge/testing/contract.py"]
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    return {
        node.name
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_row_and_every_defect_of_the_reference_has_a_test_of_its_name() -> None:
    rows: set[int] = set()
    defects: set[int] = set()
    for name in names():
        rows |= {int(number) for number in re.findall(r"_row(\d+)(?=_|$)", name)}
        rows |= {int(number) for number in re.findall(r"^test_(\d\d)_", name)}
        defects |= {int(number) for number in re.findall(r"_c(\d+)(?=_|$)", name)}
    assert sorted(ROWS - rows) == []
    assert sorted(DEFECTS - defects) == []
