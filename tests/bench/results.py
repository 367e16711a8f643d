"""What a bench found: figures of several contenders, their ratio, and whether the target is met.

How it works: machines are shared and noisy, so a figure alone says little. Contenders take turns within each round,
and what counts is the median over the rounds of ours divided by theirs.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

OURS = "ptybridge"
# Two ratios closer than this cannot be told apart on a shared machine.
NOISE = 1.3

Contender = Callable[[], float]
Verdict = Literal["met", "missed", "missed, within noise", "no peer", ""]


@dataclass(frozen=True)
class Target:
    """Ours ÷ theirs must be at most (or at least) `factor`."""

    against: str
    factor: float
    kind: Literal["at most", "at least"]

    def judge(self, ratio: float) -> Verdict:
        """Compare a ratio with the target."""
        excess = ratio / self.factor if self.kind == "at most" else self.factor / ratio
        if excess <= 1:
            return "met"
        return "missed, within noise" if excess <= NOISE else "missed"

    def __str__(self) -> str:
        return f"{'≤' if self.kind == 'at most' else '≥'} {self.factor:.3g} ×"


@dataclass(frozen=True)
class Row:
    """One line of the table: ours against one peer; without a target it is there for orientation."""

    id: str
    what: str
    ours: str
    peer: str
    theirs: str
    ratio: float | None
    target: str
    verdict: Verdict

    def cells(self) -> list[str]:
        """Return the line's cells as text."""
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}"
        return [self.id, self.what, self.ours, self.peer, self.theirs, ratio, self.target, self.verdict]


def compare(
    id: str,
    what: str,
    unit: str,
    contenders: Mapping[str, Contender | None],
    targets: Iterable[Target],
    rounds: int,
) -> list[Row]:
    """Let the contenders take turns; return a row for each peer. A contender that is None is not installed."""
    present = {name: contender for name, contender in contenders.items() if contender is not None}
    figures: dict[str, list[float]] = {name: [] for name in present}
    for turn in range(rounds):
        # Whoever starts finds the machine in another state: everybody starts in turn.
        for name in rotated(list(present), turn):
            figures[name].append(present[name]())
    wanted = list(targets)
    rows = []
    for peer in contenders:
        if peer != OURS:
            peers_targets: list[Target | None] = [target for target in wanted if target.against == peer] or [None]
            rows += [_row(id, what, unit, figures, peer, target) for target in peers_targets]
    return rows


def rotated(names: Sequence[str], by: int) -> list[str]:
    """Return the names, beginning with another one each turn."""
    start = by % len(names)
    return [*names[start:], *names[:start]]


def _row(id: str, what: str, unit: str, figures: dict[str, list[float]], peer: str, target: Target | None) -> Row:
    ours = f"{statistics.median(figures[OURS]):.3g} {unit}"
    if peer not in figures:
        return Row(id, what, ours, peer, "", None, str(target or ""), "no peer" if target else "")
    ratio = statistics.median(a / b for a, b in zip(figures[OURS], figures[peer], strict=True))
    theirs = f"{statistics.median(figures[peer]):.3g} {unit}"
    return Row(id, what, ours, peer, theirs, ratio, str(target or ""), target.judge(ratio) if target else "")


def bounded(id: str, what: str, unit: str, value: float, limit: float) -> Row:
    """Return a row for a figure that has a bound of its own instead of a peer."""
    verdict: Verdict = "met" if value <= limit else "missed"
    return Row(id, what, f"{value:.3g} {unit}", "", "", None, f"≤ {limit:.3g} {unit}", verdict)


HEADINGS = ["id", "what", "ptybridge", "peer", "peer's", "ratio", "target", "verdict"]


def table(rows: Iterable[Row]) -> str:
    """Lay the rows out as a Markdown table that is as readable in a terminal."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)
