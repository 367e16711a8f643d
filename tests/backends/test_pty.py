import contextlib
import errno
import os
import socket
import threading

import pytest
import trio

from ptybridge.backends import nofile, pty
from ptybridge.core.child import Child, ChildSpec
from ptybridge.core.transcript import Transcript
from ptybridge.errors import OutOfDescriptors, OutOfTerminals, SpawnFailed
from ptybridge.testing.running import (
    ENV,
    PATIENCE_SECONDS,
    SIZE,
    limited_descriptors,
    nothing_more_is_held,
    what_is_held,
)
from ptybridge.testing.terminal_contract import TerminalContract

TRUE = ChildSpec(argv=["true"], cwd="/", env=ENV, size=SIZE)


class TestPty(TerminalContract):
    async def spawn(self, spec: ChildSpec) -> tuple[Child, Transcript]:
        return await pty.spawn(spec), pty.new_transcript(spec)


class Sink:
    def __init__(self) -> None:
        self.offered: list[tuple[int, bytes]] = []

    def offer_nowait(self, offset: int, chunk: bytes) -> bool:
        self.offered.append((offset, chunk))
        return True


async def test_an_idle_reader_gets_small_chunks_without_a_task_switch(nursery: trio.Nursery) -> None:
    child = await pty.spawn(ChildSpec(argv=["cat"], cwd="/", env=ENV, size=SIZE))
    log, sink = pty.new_transcript(TRUE), Sink()
    reader = log.reader(0, sink)
    nursery.start_soon(reader.wait)
    await trio.testing.wait_all_tasks_blocked()
    child.send_nowait(b"x")
    async with trio.open_nursery() as pumping:
        pumping.start_soon(child.pump, log)
        with trio.fail_after(PATIENCE_SECONDS):
            await log.reader(0).wait()
        assert sink.offered == [(0, b"x")]
        assert reader.offset == 1
        pumping.cancel_scope.cancel()
    child.signal(9, whole_session=True)
    await child.wait()
    await child.aclose()
    nursery.cancel_scope.cancel()


async def test_a_failed_start_for_want_of_descriptors_is_typed_and_leaks_none() -> None:
    before = what_is_held()
    outcomes = []
    for free in range(10):
        with limited_descriptors(free):
            try:
                child = await pty.spawn(TRUE)
            except OutOfDescriptors:
                outcomes.append("refused")
            else:
                outcomes.append("started")
                await child.wait()
                await child.aclose()
        assert nothing_more_is_held(before)
    assert (outcomes[0], outcomes[-1]) == ("refused", "started")
    assert outcomes == sorted(outcomes)


async def test_only_numbers_that_can_be_had_are_left_free() -> None:
    """Of threads that wait in accept(2) each has one that nobody sees."""
    await trio.lowlevel.checkpoint()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        first = os.dup(listener.fileno())
        os.close(first)
        threads = [threading.Thread(target=_accept, args=(listener,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                while True:
                    fd = os.dup(listener.fileno())
                    os.close(fd)
                    if fd >= first + len(threads):
                        break
                    await trio.sleep(0.01)
            with limited_descriptors(2):
                pair = os.pipe()
                with pytest.raises(OSError, match="Too many open files"):
                    os.dup(pair[0])
                for fd in pair:
                    os.close(fd)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def _accept(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        listener.accept()


async def test_a_system_without_terminals_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """R14."""

    def refuse() -> tuple[int, int]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "forkpty", refuse)
    monkeypatch.setattr(os, "openpty", refuse)
    before = what_is_held()
    with pytest.raises(OutOfTerminals):
        await pty.spawn(TRUE)
    assert nothing_more_is_held(before)


async def test_a_refused_fork_gives_the_reason_and_leaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[int, int]:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "forkpty", refuse)
    monkeypatch.setattr(os, "fork", refuse)
    before = what_is_held()
    with pytest.raises(SpawnFailed, match="temporarily unavailable"):
        await pty.spawn(TRUE)
    assert nothing_more_is_held(before)


async def test_other_threads_are_no_reason_to_warn() -> None:
    """Python 3.12 warns of forkpty beside threads, and a warning is an error here."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        child = await pty.spawn(TRUE)
        await child.wait()
        await child.aclose()
    finally:
        done.set()
        thread.join()


async def test_children_get_the_file_limit_the_daemon_started_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nofile, "_inherited", (200, nofile.inherited()[1]))
    child = await pty.spawn(ChildSpec(argv=["sh", "-c", "ulimit -Sn"], cwd="/", env=ENV, size=SIZE))
    log = pty.new_transcript(TRUE)
    await child.pump(log)
    await child.wait()
    await child.aclose()
    assert int(log.read(0, 100)[1]) == 200
