"""From whose session a process comes: seen on real processes that have hidden it more or less well."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ptybridge.core.ancestry import Child, agents_session

# Prints its pid and lives until its input ends.
STAY = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
# Leaves its parent, which must be gone before anybody looks.
LEAVE = """
import os, sys, time
parent = os.getpid()
if os.fork(): os._exit(0)
while os.getppid() == parent: time.sleep(0.001)
{}
os.execv(sys.argv[1], sys.argv[1:])
"""


@contextmanager
def tree(*wrapper: str, env: dict[str, str] | None = None) -> Iterator[tuple[int, int]]:
    """Yield the pids of a session's child and of a process below it."""
    below = [*wrapper, sys.executable, "-c", STAY]
    with subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; raise SystemExit(subprocess.call({below!r}))"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, **(env or {})},
    ) as top:
        assert top.stdin is not None
        assert top.stdout is not None
        yield top.pid, int(top.stdout.readline())
        top.stdin.close()


def child(pid: int, profile: str | None = "mcp", *, running: bool = True) -> Child:
    return Child("s1", pid, running, profile)


@pytest.mark.parametrize("wrapper", [[], ["sh", "-c", 'exec "$@"', "sh"], ["setsid", "--wait"]])
def test_whatever_an_agents_session_has_started_is_known(wrapper: list[str]) -> None:
    with tree(*wrapper) as (top, below):
        said = agents_session(below, [child(top)])
        assert said is not None
        assert "session s1" in said
        assert agents_session(top, [child(top)]) == said
        assert agents_session(below, [child(top, None)]) is None
        assert agents_session(below, []) is None


def test_what_has_left_its_parents_is_known_by_the_kernels_session() -> None:
    with tree(sys.executable, "-c", LEAVE.format("")) as (top, orphan):
        assert agents_session(orphan, [child(top)]) is not None
        assert agents_session(orphan, [child(top, running=False)]) is not None


def test_what_has_left_that_too_is_known_by_its_environment() -> None:
    for session_id, known in (("s1", True), ("s2", False)):
        with tree(sys.executable, "-c", LEAVE.format("os.setsid()"), env={"PTYBRIDGE_SESSION_ID": session_id}) as (
            top,
            orphan,
        ):
            assert (agents_session(orphan, [child(top)]) is not None) is known


def test_the_variable_is_no_proof_of_innocence() -> None:
    with tree(env={"PTYBRIDGE_SESSION_ID": "mine"}) as (top, below):
        people = Child("mine", 1, True, None)
        assert agents_session(below, [child(top), people]) is not None


def test_a_pid_that_is_somebody_elses_by_now_does_not_count() -> None:
    with tree() as (_, below):
        assert agents_session(below, [child(os.getpid(), running=False)]) is None


def test_who_has_ended_cannot_be_looked_at() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert agents_session(ended.pid, []) == "the process that asks is gone"
