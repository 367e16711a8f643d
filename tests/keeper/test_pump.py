"""The pump: exact at every point where it can be killed, and the answers of a step."""

import fcntl
import os
import random
import signal
import termios
import tty
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ptybridge.keeper import pump as pump_module
from ptybridge.keeper.pump import Flow, Progress, Pump, State
from ptybridge.keeper.ring import Ring, Segments, create_memfd, create_segments_memfd

CAPACITY = 1 << 16


class Fuse:
    """Kills its process at the `moment`-th of the stores and system calls that another process could notice."""

    def __init__(self, moment: int) -> None:
        self.left = moment

    def burn(self) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.burn()
            return call(*args, **kwargs)

        return wrapped


class Words:
    """Shared memory whose every store burns the fuse."""

    def __init__(self, words: memoryview, fuse: Fuse) -> None:
        self.words, self.fuse = words, fuse

    def __getitem__(self, at: Any) -> Any:
        return self.words[at]

    def __setitem__(self, at: int, value: int) -> None:
        self.fuse.burn()
        self.words[at] = value


class World:
    """What survives the pump's process: outputs, ring, index, scratch pipe and journal."""

    def __init__(self, outputs: list[int], inputs: list[int]) -> None:
        self.outputs, self.inputs = outputs, inputs
        self.pump = Pump.create()
        self.ring_fd = create_memfd(CAPACITY)
        self.segments_fd = create_segments_memfd(128) if len(outputs) > 1 else None
        self.ring = Ring.from_fd(self.ring_fd)
        self.segments = None if self.segments_fd is None else Segments.from_fd(self.segments_fd)
        self.streams = [bytearray() for _ in outputs]

    def flow(self) -> Flow:
        segments = None if self.segments_fd is None else Segments.from_fd(self.segments_fd)
        return Flow(7, self.outputs, Ring.from_fd(self.ring_fd), segments)

    def write(self, data: bytes, stream: int = 0) -> None:
        os.write(self.inputs[stream], data)
        self.streams[stream] += data

    def in_process(self, moment: int, act: Callable[[Pump, Flow], object], *, short: bool = False) -> bool:
        """Run `act` in a process of its own that dies at `moment`; return whether it came through."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                fuse = Fuse(moment)
                pump, flow = Pump(*self.pump.fds), self.flow()
                arm(pump, flow, fuse, short=short)
                act(pump, flow)
                code = 0
            finally:
                os._exit(code)
        status = os.waitpid(pid, 0)[1]
        assert status in (0, signal.SIGKILL)
        return status == 0

    def finish(self) -> None:
        """Recover as the survivor does and read all that is left."""
        flow = self.flow()
        self.pump.recover(lambda number: flow if number == flow.number else None)
        for stream in range(len(self.outputs)):
            while self.pump.step(flow, stream).size:
                pass

    def check(self) -> None:
        if self.segments is None:
            written = bytes(self.streams[0])
            start = self.ring.start
            assert self.ring.end == len(written)
            assert self.ring.read(start, CAPACITY) == (start, written[start:])
            return
        assert self.ring.end == self.segments.end == sum(map(len, self.streams))
        for stream, content in enumerate(self.streams):
            assert self.segments.stream_end(stream) == len(content)
            found, data, after = self.segments.read_stream(self.ring, stream, 0, CAPACITY)
            assert data == content[found:]
            assert after == self.ring.end

    def close(self) -> None:
        self.pump.close()
        self.ring.close()
        for fd in {*self.outputs, *self.inputs, self.ring_fd}:
            os.close(fd)
        if self.segments_fd is not None and self.segments is not None:
            self.segments.close()
            os.close(self.segments_fd)


def arm(pump: Pump, flow: Flow, fuse: Fuse, *, short: bool) -> None:
    wrapped: Any = pump
    wrapped._journal = Words(pump._journal, fuse)
    ring: Any = flow.ring
    ring._header = Words(ring._header, fuse)
    if flow.segments is not None:
        segments: Any = flow.segments
        segments._header, segments._words = Words(segments._header, fuse), Words(segments._words, fuse)
    readv = os.readv

    def readv_short(fd: int, views: list[memoryview]) -> int:
        return readv(fd, [view[: len(view) // 2 + 1] for view in views[:1]])

    module: Any = pump_module
    module.os.splice = fuse.wrap(os.splice)
    module.os.readv = fuse.wrap(readv_short if short else readv)
    module.fcntl.ioctl = fuse.wrap(fcntl.ioctl)
    module.fcntl.lockf = fuse.wrap(fcntl.lockf)


@pytest.fixture
def terminal() -> Iterator[World]:
    pty_fd, terminal_fd = os.openpty()
    tty.setraw(terminal_fd)
    os.set_blocking(pty_fd, False)
    world = World([pty_fd], [terminal_fd])
    yield world
    world.close()


@pytest.fixture
def pipes() -> Iterator[World]:
    (out, out_in), (err, err_in) = os.pipe(), os.pipe()
    for fd in (out, err):
        os.set_blocking(fd, False)
    world = World([out, err], [out_in, err_in])
    yield world
    world.close()


@pytest.fixture(params=["terminal", "pipes"])
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.getfixturevalue(request.param)
    return made


def produce(world: World, rnd: random.Random) -> None:
    """Write to every output; then wait until a terminal's bytes have arrived at our side."""
    for stream in range(len(world.outputs)):
        world.write(rnd.randbytes(rnd.choice([1, 2, 300, 3000])), stream)
    ready = [False] * len(world.outputs)
    while not all(ready):
        ready = [_bytes_waiting(fd) > 0 for fd in world.outputs]


def _bytes_waiting(fd: int) -> int:
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"), "little")


def steps(pump: Pump, flow: Flow) -> None:
    for stream in (*range(len(flow.outputs)), 0):
        pump.step(flow, stream)


def recover(pump: Pump, flow: Flow) -> None:
    pump.recover(lambda number: flow if number == flow.number else None)


@pytest.mark.parametrize("short", [False, True])
def test_kill_at_every_point_of_a_step_is_exact(world: World, short: bool) -> None:
    rnd = random.Random(1)
    moment = rounds = 0
    while True:
        produce(world, rnd)
        through = world.in_process(moment, steps, short=short)
        world.finish()
        world.check()
        rounds += 1
        if through:
            break
        moment += 1
    assert rounds > 12  # seven points, the lock, and the stores between them


def test_kill_inside_recovery_after_a_kill_at_every_point_is_exact(world: World) -> None:
    rnd = random.Random(2)
    moment = 0
    while True:
        inside = 0
        while True:
            produce(world, rnd)
            through = world.in_process(moment, steps)
            recovered = world.in_process(inside, recover)
            world.finish()
            world.check()
            if through or recovered:
                break
            inside += 1
        if through:
            break
        moment += 1


def test_kills_while_the_ring_wraps_and_the_index_drops_runs_are_exact(pipes: World) -> None:
    rnd = random.Random(3)
    for i in range(300):
        pipes.write(rnd.randbytes(rnd.choice([1, 700])), i & 1)
        pipes.finish()
    for _ in range(400):
        produce(pipes, rnd)
        pipes.in_process(rnd.randrange(40), steps)
        pipes.finish()
        pipes.check()
    assert pipes.ring.start > 0


def test_random_kills_under_a_flood_lose_and_double_nothing(terminal: World) -> None:
    rnd = random.Random(4)
    for _ in range(300):
        size = rnd.choice([1, 7, 3000])
        terminal.write(rnd.randbytes(size))
        if rnd.random() < 0.7:
            terminal.in_process(rnd.randrange(25), steps)
        terminal.finish()
    while terminal.ring.end < len(terminal.streams[0]):
        terminal.finish()
    terminal.check()


def test_recovery_without_an_unfinished_step_changes_nothing(world: World) -> None:
    flow = world.flow()
    produce(world, random.Random(5))
    world.pump.step(flow)
    before = world.ring.end
    world.pump.recover(lambda _number: pytest.fail("asked for a session"))
    assert world.ring.end == before


def test_recovery_of_a_session_nobody_has_leaves_the_pipe_empty(terminal: World) -> None:
    produce(terminal, random.Random(6))
    for moment in range(4, 7):
        terminal.in_process(moment, steps)
        terminal.pump.recover(lambda _number: None)
        assert _bytes_waiting(terminal.pump.fds[0]) == 0
        produce(terminal, random.Random(7))


def test_only_one_process_steps_and_not_after_one_that_was_killed(terminal: World) -> None:
    """The lock is the process's, whatever it shares with others; a step that was begun is for `recover` to finish."""
    produce(terminal, random.Random(9))
    flow = terminal.flow()
    begun, begun_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        wrapped: Any = terminal.pump
        wrapped._fill = lambda *_: (os.write(begun_in, b"!"), signal.pause())  # type: ignore[func-returns-value]
        try:
            terminal.pump.step(terminal.flow())
        finally:
            os._exit(1)
    os.read(begun, 1)
    assert terminal.pump.step(flow) == (0, State.BUSY)
    assert not terminal.pump.recover(lambda _number: pytest.fail("looked for the session of a step under way"))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert terminal.pump.step(flow) == (0, State.BUSY)
    assert terminal.pump.recover(lambda number: flow if number == flow.number else None)
    assert terminal.pump.step(flow).size > 0
    terminal.finish()
    terminal.check()
    os.close(begun)
    os.close(begun_in)


def test_a_daemon_steps_only_while_its_epoch_is_allowed(terminal: World) -> None:
    produce(terminal, random.Random(10))
    flow = terminal.flow()
    theirs = Pump(*map(os.dup, terminal.pump.fds))
    theirs.epoch = 3
    for epoch in (0, 2, 4):
        terminal.pump.allow(epoch)
        assert theirs.step(flow) == (0, State.BUSY)
    assert terminal.ring.end == 0
    terminal.pump.allow(3)
    assert theirs.step(flow).size > 0
    terminal.write(b"and the keeper may always")
    terminal.finish()
    terminal.check()
    theirs.close()


def test_a_step_takes_as_many_pages_as_it_may(pipes: World) -> None:
    flow = pipes.flow()
    pipes.write(os.urandom(20_000))
    assert pipes.pump.step(flow, 0, 2) == (8192, State.MORE)
    pipes.finish()
    pipes.check()


def test_step_tells_empty_from_ended(world: World) -> None:
    flow = world.flow()
    assert world.pump.step(flow) == (0, State.EMPTY)
    world.write(b"last words")
    for fd in world.inputs:
        os.close(fd)
    world.inputs = []
    answers = [world.pump.step(flow, stream) for stream in range(len(flow.outputs)) for _ in range(3)]
    assert sum(answer.size for answer in answers) == len(b"last words")
    assert answers[-1] == (0, State.ENDED)
    assert world.ring.eof
    world.check()


def test_eof_comes_only_with_the_end_of_both_outputs(pipes: World) -> None:
    flow = pipes.flow()
    os.close(pipes.inputs.pop(1))
    assert pipes.pump.step(flow, 1).state is State.ENDED
    assert flow.open == [True, False]
    assert not pipes.ring.eof
    pipes.write(b"still here")
    assert pipes.pump.step(flow, 0).size == 10
    pipes.check()


def test_full_ring_stalls_until_the_floor_moves(pipes: World) -> None:
    flow = pipes.flow()
    flow.pauses = True
    data = os.urandom(CAPACITY)
    sent = 0
    progress = Progress(0, State.MORE)
    while progress.state is not State.FULL:
        pipes.write(data[sent : sent + 10_000] or b"more than fits")
        sent += 10_000
        progress = pipes.pump.step(flow)
    assert pipes.ring.stalled
    assert pipes.ring.end == CAPACITY
    pipes.ring.floor = 5
    assert pipes.pump.step(flow).size == 5
    assert pipes.ring.start == 5
    flow.pauses = False
    pipes.finish()
    pipes.check()


def test_without_splice_bytes_are_read_directly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "splice", refuse)
    assert not pump_module.can_splice()
    flow = world.flow()
    produce(world, random.Random(8))
    while not world.ring.end:
        world.pump.step(flow)
    assert not world.pump.exact
    world.finish()
    world.check()
    for fd in world.inputs:
        os.close(fd)
    world.inputs = []
    for stream in range(len(flow.outputs)):
        assert world.pump.step(flow, stream).state is State.ENDED
    assert world.ring.eof


def test_unreadable_output_raises_and_leaves_the_journal_clean(
    terminal: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> int:
        raise OSError(5000, "something unheard of")

    flow = terminal.flow()
    with monkeypatch.context() as patch:
        patch.setattr(os, "splice", fail)
        with pytest.raises(OSError, match="unheard"):
            terminal.pump.step(flow)
    terminal.pump.recover(lambda _number: pytest.fail("the journal still has an owner"))
    terminal.write(b"fine")
    terminal.finish()
    terminal.check()
