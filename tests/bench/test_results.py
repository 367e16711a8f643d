"""The bench's own arithmetic, and that everything it compiles and compares is told apart rightly."""

from tests.bench.results import OURS, Target, bounded, compare, table


def test_ratio_is_the_median_of_the_rounds_and_not_of_the_figures() -> None:
    ours, theirs = iter([10.0, 1000.0, 30.0]), iter([10.0, 500.0, 20.0])
    row = compare("P0", "it", "s", {OURS: lambda: next(ours), "peer": lambda: next(theirs)}, [], 3)[0]
    assert (row.ratio, row.verdict) == (1.5, "")


def test_contenders_take_turns_at_going_first() -> None:
    order: list[str] = []

    def figure(name: str) -> float:
        order.append(name)
        return 1.0

    compare("P0", "it", "s", {OURS: lambda: figure("a"), "peer": lambda: figure("b")}, [], 2)
    assert order == ["a", "b", "b", "a"]


def test_target_tells_met_noise_and_missed_apart() -> None:
    at_most, at_least = Target("peer", 2.0, "at most"), Target("peer", 2.0, "at least")
    assert [at_most.judge(ratio) for ratio in (2.0, 2.5, 3.0)] == ["met", "missed, within noise", "missed"]
    assert [at_least.judge(ratio) for ratio in (2.0, 1.6, 1.0)] == ["met", "missed, within noise", "missed"]


def test_absent_peer_is_said_to_be_absent() -> None:
    row = compare("P0", "it", "s", {OURS: lambda: 1.0, "peer": None}, [Target("peer", 1.0, "at most")], 1)[0]
    assert (row.ratio, row.verdict) == (None, "no peer")


def test_bound_counts_its_limit_as_met() -> None:
    assert bounded("P0", "it", "B", 0, 0).verdict == "met"
    assert bounded("P0", "it", "B", 1, 0).verdict == "missed"


def test_table_is_markdown_with_equal_lines() -> None:
    lines = table([bounded("P0", "a long description", "B", 1, 2)]).splitlines()
    assert lines[1].startswith("|---")
    assert len({len(line) for line in lines}) == 1
