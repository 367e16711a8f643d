"""R11: whose window decides, whatever the order in which people come, type, resize and leave."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptybridge.core.winsize import KEPT_RESIZES, Attachment, Attachments, SizeHistory
from ptybridge.model import Mode, SizePolicy, WindowSize

POLICIES: list[SizePolicy] = ["latest", "smallest", "largest", "manual"]
window = st.builds(WindowSize, st.integers(1, 300), st.integers(1, 300))
who = st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.just("come"), st.tuples(window, st.sampled_from(["writer", "viewer"]))),
    st.tuples(st.just("leave"), who),
    st.tuples(st.just("type"), who),
    st.tuples(st.just("resize"), st.tuples(who, window)),
    st.tuples(st.just("policy"), st.sampled_from(POLICIES)),
)


def attachment(number: int, size: WindowSize, mode: Mode) -> Attachment:
    return Attachment(
        f"a{number}", f"c{number}", mode=mode, size=size, pid=None, attached_at_ms=0, ended=lambda reason, text: None
    )


@settings(max_examples=300)
@given(policy=st.sampled_from(POLICIES), plan=st.lists(steps, max_size=40))
def test_r11_the_size_follows_the_policy(policy: SizePolicy, plan: list[tuple[str, object]]) -> None:
    group = Attachments(policy, WindowSize(30, 120))
    # The model: (who, size, mode) in the order of their last activity.
    model: list[tuple[Attachment, Mode]] = []
    made = 0
    for name, argument in plan:
        if name == "come":
            assert isinstance(argument, tuple)
            made += 1
            new = attachment(made, *argument)
            group.add(new)
            model.append((new, argument[1]))
        elif name == "policy":
            policy = group.policy = argument  # type: ignore[assignment]
        elif model:
            index = argument[0] if isinstance(argument, tuple) else argument
            assert isinstance(index, int)
            chosen = model[index % len(model)]
            if name == "leave":
                group.remove(chosen[0])
                group.remove(chosen[0])
                model.remove(chosen)
            else:
                if isinstance(argument, tuple):
                    chosen[0].size = argument[1]
                before = [one for one in model if one[1] == "writer"][-1:]
                became = group.touch(chosen[0])
                if chosen[1] == "writer":
                    assert became == (not before or before[0] is not chosen)
                model.remove(chosen)
                model.append(chosen)
        writers = [one for one, mode in model if mode == "writer"]
        expected = group.size
        if writers and policy == "latest":
            expected = writers[-1].size
        elif writers and policy == "smallest":
            expected = WindowSize(min(one.size.rows for one in writers), min(one.size.cols for one in writers))
        elif writers and policy == "largest":
            expected = WindowSize(max(one.size.rows for one in writers), max(one.size.cols for one in writers))
        assert group.wanted_size() == expected
        assert group.latest() is (writers[-1] if writers else None)
        group.size = expected
        assert len(group) == len(model)
        assert {one.attachment_id for one in group} == {one.attachment_id for one, _ in model}


def test_s21_viewers_decide_nothing_even_alone() -> None:
    group = Attachments("latest", WindowSize(30, 120))
    group.add(attachment(1, WindowSize(5, 5), "viewer"))
    for policy in POLICIES:
        group.policy = policy
        assert group.wanted_size() == WindowSize(30, 120)
    assert group.latest() is None


def test_who_left_may_be_removed_while_all_are_looked_at() -> None:
    group = Attachments("latest", WindowSize(30, 120))
    for number in range(3):
        group.add(attachment(number, WindowSize(5, 5), "writer"))
    for one in group:
        group.remove(one)
    assert len(group) == 0
    assert group.get("a1") is None


@settings(max_examples=100)
@given(gaps=st.lists(st.integers(0, 3), max_size=KEPT_RESIZES + 50), reader=st.integers(0, 400), late=st.booleans())
def test_sizes_are_told_each_once_and_in_order(gaps: list[int], reader: int, late: bool) -> None:
    history = SizeHistory()
    changes: list[tuple[int, WindowSize]] = []
    at = 0
    for number, gap in enumerate(gaps):
        at += gap
        changes.append((at, WindowSize(number % 200 + 1, 80)))
        history.add(*changes[-1])
    assert history.count == len(changes)
    kept = changes[-KEPT_RESIZES:]
    seen = history.seen_at(reader) if late else 0
    if late:
        assert seen == len(changes) - sum(1 for offset, _ in kept if offset > reader)
    told = []
    while (change := history.next(seen)) is not None:
        told.append(change)
        seen += 1
    assert history.next(history.count) is None
    if late:
        assert told == [one for one in kept if one[0] > reader]
    elif len(changes) <= KEPT_RESIZES:
        assert told == changes
    else:
        # A reader that is too far behind hears of the oldest kept one again and again, and then of all others.
        assert told[-len(kept) :] == kept


@pytest.mark.parametrize("policy", POLICIES)
def test_r11_without_anybody_the_size_stays(policy: SizePolicy) -> None:
    assert Attachments(policy, WindowSize(7, 70)).wanted_size() == WindowSize(7, 70)
