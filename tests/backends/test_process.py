import os
import signal
from collections.abc import AsyncIterator

import msgspec
import pytest
import trio

from ptybridge.backends import process, pty
from ptybridge.backends.process import ChildProcess
from ptybridge.core import procinfo
from ptybridge.core.child import ChildSpec
from ptybridge.core.procinfo import ProcessStat
from ptybridge.model import ExitStatus
from ptybridge.testing.running import ENV, PATIENCE_SECONDS, SIZE

SLEEP = ChildSpec(argv=["sleep", "1000"], cwd="/", env=ENV, size=SIZE)


@pytest.fixture
async def child() -> AsyncIterator[pty.PtyChild]:
    child = await pty.spawn(SLEEP)
    yield child
    child.signal(signal.SIGKILL, whole_session=True)
    with trio.fail_after(PATIENCE_SECONDS, shield=True):
        await child.wait()
    await child.aclose()


async def test_a_recycled_pid_is_not_taken_for_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """S20: after reaping, a process with the child's pid is somebody else's session leader."""
    child = await pty.spawn(SLEEP)
    stranger = procinfo.process_stat(child.pid)
    assert stranger is not None
    child.signal(signal.SIGKILL, whole_session=False)
    await child.wait()
    monkeypatch.setattr(procinfo, "processes", lambda: [stranger])
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda pgid, number: killed.append(pgid))
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda fd, number: killed.append(fd))
    assert child.survivors() == []
    child.signal(signal.SIGTERM, whole_session=True)
    child.signal(signal.SIGTERM, whole_session=False)
    assert killed == []
    await child.aclose()


async def test_a_member_recycled_since_it_was_listed_is_spared(
    child: pty.PtyChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S20."""
    await trio.lowlevel.checkpoint()
    real = procinfo.process_stat(child.pid)
    assert real is not None
    listed: ProcessStat = msgspec.structs.replace(real, start_time=real.start_time - 1)
    monkeypatch.setattr(process, "_census", procinfo.Census())
    monkeypatch.setattr(procinfo, "processes", lambda: [listed])
    child.signal(signal.SIGKILL, whole_session=True)
    monkeypatch.undo()
    assert child.survivors() == [child.pid]


async def test_a_group_of_another_session_is_not_signalled(child: pty.PtyChild) -> None:
    """S20: what the terminal claims is its foreground group is looked at first."""
    other = await pty.spawn(SLEEP)
    stranger = ChildProcess(other.pid)
    stranger.signal_group(child.pid, signal.SIGKILL)
    stranger.close()
    assert child.survivors() == [child.pid]
    other.signal(signal.SIGKILL, whole_session=False)
    assert await other.wait() == ExitStatus(signal="SIGKILL")
    await other.aclose()


async def test_a_status_collected_by_somebody_else_is_unknown() -> None:
    child = await pty.spawn(ChildSpec(argv=["true"], cwd="/", env=ENV, size=SIZE))
    os.waitpid(child.pid, 0)  # noqa: ASYNC222
    with trio.fail_after(PATIENCE_SECONDS):
        assert await child.wait() == ExitStatus()
    await child.aclose()
