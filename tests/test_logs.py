"""The daemon's log: private files, whole lines, no more of them than asked for."""

import logging
import stat
from pathlib import Path

from ptybridge.logs import _PrivateFile

LIMIT = 200


def test_files_end_with_the_line_that_fills_them_and_the_oldest_goes(tmp_path: Path) -> None:
    file = _PrivateFile(tmp_path / "log", maxBytes=LIMIT, backupCount=2)
    lines = [f"line {number:02} " + "x" * 30 for number in range(40)]
    for line in lines:
        file.emit(logging.LogRecord("n", logging.INFO, "", 0, line, (), None))
    file.close()
    found = sorted(tmp_path.glob("log*"), reverse=True)
    assert [path.name for path in found] == ["log.2", "log.1", "log"]
    kept = [line for path in found for line in path.read_text().splitlines()]
    assert kept == lines[-len(kept) :]
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        size = path.stat().st_size
        assert size < LIMIT + 2 * len(lines[0])
        assert path.name == "log" or size >= LIMIT


def test_a_file_that_is_there_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("x" * (LIMIT - 10) + "\n")
    file = _PrivateFile(tmp_path / "log", maxBytes=LIMIT, backupCount=1)
    for line in ("short", "fills it", "begins the next"):
        file.emit(logging.LogRecord("n", logging.INFO, "", 0, line, (), None))
    file.close()
    assert (tmp_path / "log").read_text() == "begins the next\n"
    assert (tmp_path / "log.1").read_text().endswith("short\nfills it\n")
