"""The contract every `Child` keeps, as tests: a backend's tests subclass it and say how a child is made.

`ChildContract` holds for all, the fake included. `ProgramContract` adds real programs, and
`terminal_contract.TerminalContract` a terminal.
Needs pytest and pytest-trio in `trio_mode`. Numbers such as R01 name lines of the reliability checklist.
"""

import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from ptybridge.core.child import Child, ChildSpec
from ptybridge.core.transcript import Transcript
from ptybridge.errors import InputClosed, SpawnFailed
from ptybridge.model import ExitStatus
from ptybridge.testing.running import ENV, PATIENCE_SECONDS, SIZE, Running, nothing_more_is_held, pattern, what_is_held

# Begins to pump a child that was made; what the fixture `running` gives.
Start = Callable[[tuple[Child, Transcript]], Running]


class ChildContract:
    """What holds for every child. A subclass implements `printer` and `copier`."""

    async def printer(self, data: bytes, code: int, *, capacity: int = 1 << 21) -> tuple[Child, Transcript]:
        """Make a child that prints exactly `data` (letters and digits) and exits with `code`."""
        raise NotImplementedError

    async def copier(self) -> tuple[Child, Transcript]:
        """Make a child that prints each line it reads and ends, with code 0, at the end of input."""
        raise NotImplementedError

    @pytest.fixture
    async def running(self, nursery: trio.Nursery) -> AsyncIterator[Start]:
        """Give a function that starts pumping a child; ends and releases all of them after the test."""
        started: list[Running] = []

        def run(made: tuple[Child, Transcript]) -> Running:
            started.append(Running(*made))
            nursery.start_soon(started[-1].pump)
            return started[-1]

        yield run
        with trio.fail_after(PATIENCE_SECONDS, shield=True):
            for each in started:
                each.child.signal(signal.SIGKILL, whole_session=True)
                await each.child.wait()
                each.pumping.cancel()
            await trio.testing.wait_all_tasks_blocked()
            for each in started:
                await each.child.aclose()

    @pytest.mark.parametrize("size", [1, 1000, 4095, 4096, 4097, 65536, 1 << 20])
    async def test_output_before_the_exit_is_complete_to_the_last_byte(self, running: Start, size: int) -> None:
        """R01."""
        data = pattern(size)
        child = running(await self.printer(data, 5))
        assert await child.finish() == ExitStatus(code=5)
        assert child.output() == data

    async def test_many_may_wait_for_the_exit_and_one_may_be_cancelled(self, running: Start) -> None:
        child = running(await self.copier())
        seen: list[ExitStatus] = []

        async def wait() -> None:
            seen.append(await child.child.wait())

        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                scope.cancel()
                await child.child.wait()
            assert scope.cancelled_caught
            for _ in range(3):
                nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            child.child.signal(signal.SIGKILL, whole_session=True)
            with trio.fail_after(PATIENCE_SECONDS):
                seen.append(await child.child.wait())
        assert seen == [ExitStatus(signal="SIGKILL")] * 4
        assert await child.child.wait() == seen[0]

    async def test_input_reaches_the_child_and_end_of_input_ends_it(self, running: Start) -> None:
        child = running(await self.copier())
        await child.send(b"one\n")
        await child.wait_output(b"one")
        assert child.child.send_nowait(b"two\n") == 4
        await child.wait_output(b"two")
        await child.child.close_input()
        assert await child.finish() == ExitStatus(code=0)

    async def test_input_after_the_end_is_refused(self, running: Start) -> None:
        child = running(await self.printer(b"x", 0))
        await child.finish()
        with pytest.raises(InputClosed):
            await child.child.send_some(memoryview(b"late"))
        with pytest.raises(InputClosed):
            child.child.send_nowait(b"late")

    async def test_a_floor_holds_the_writer_back_and_loses_nothing(self, running: Start) -> None:
        data = pattern(300_000)
        made = await self.printer(data, 0, capacity=1 << 16)
        log = made[1]
        reader = log.reader(0)
        log.add_floor(lambda: reader.offset)
        child = running(made)
        seen = bytearray()
        with trio.fail_after(PATIENCE_SECONDS):
            while log.end < log.ring.capacity:
                await log.reader(log.end).wait()
            while len(seen) < len(data):
                assert log.end - reader.offset <= log.ring.capacity
                await reader.wait()
                offset, piece = reader.take(10_000)
                assert offset == len(seen)
                seen += piece
                log.floor_moved()
        await child.finish()
        assert seen == data

    async def test_after_the_end_everything_is_quiet(self, running: Start) -> None:
        """R11 and more: no method fails because the program is gone."""
        child = running(await self.printer(b"x", 0))
        await child.finish()
        child.child.resize(SIZE)
        child.child.signal(signal.SIGTERM, whole_session=False)
        child.child.signal(signal.SIGTERM, whole_session=True)
        assert child.child.survivors() == []
        assert child.child.foreground_pgid() is None

    async def test_releasing_twice_is_harmless(self) -> None:
        child, log = await self.printer(b"x", 0)
        with trio.fail_after(PATIENCE_SECONDS):
            await child.pump(log)
            await child.wait()
            await child.aclose()
            await child.aclose()
            assert await child.wait() == ExitStatus(code=0)


class ProgramContract(ChildContract):
    """What holds for every child that is a real program. A subclass implements `spawn`."""

    # Set by backends whose terminal turns \n into \r\n.
    newline = b"\n"

    async def spawn(self, spec: ChildSpec) -> tuple[Child, Transcript]:
        """Start `spec`; return the child and the log to pump into."""
        raise NotImplementedError

    async def program(self, *argv: str, env: dict[str, str] | None = None, cwd: str = "/") -> tuple[Child, Transcript]:
        """Start a program."""
        return await self.spawn(ChildSpec(argv=list(argv), cwd=cwd, env=ENV | (env or {}), size=SIZE))

    async def script(self, text: str) -> tuple[Child, Transcript]:
        """Start a shell script."""
        return await self.program("sh", "-c", text)

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    async def printer(self, data: bytes, code: int, *, capacity: int = 1 << 21) -> tuple[Child, Transcript]:
        """Print a file, because a command line holds only 128 KiB."""
        (self.folder / "data").write_bytes(data)
        argv = ["sh", "-c", f"cat data; exit {code}"]
        return await self.spawn(ChildSpec(argv=argv, cwd=str(self.folder), env=ENV, size=SIZE, capacity=capacity))

    async def copier(self) -> tuple[Child, Transcript]:
        """Copy with cat."""
        return await self.program("cat")

    # -- starting -------------------------------------------------------------------------------------------

    async def test_environment_directory_and_arguments_are_as_given(self, running: Start) -> None:
        argv = ["sh", "-c", 'pwd; echo "$0|$1|$GREETING|$#"', "zero", "a  *b"]
        spec = ChildSpec(argv=argv, cwd="/usr", env={"PATH": ENV["PATH"], "GREETING": "grüß\tgott"}, size=SIZE)
        child = running(await self.spawn(spec))
        await child.finish()
        assert child.output() == "/usr\nzero|a  *b|grüß\tgott|1\n".encode().replace(b"\n", self.newline)

    async def test_argv_0_is_kept_and_the_program_found_on_the_childs_own_path(self, running: Start) -> None:
        (self.folder / "greet").write_text('#!/bin/sh\necho "hello from $0"\n')
        (self.folder / "greet").chmod(0o755)
        child = running(await self.program("greet", env={"PATH": f"{self.folder}:{ENV['PATH']}"}))
        await child.finish()
        assert child.output().startswith(f"hello from {self.folder}/greet".encode())
        child = running(await self.program("./greet", cwd=str(self.folder)))
        assert await child.finish() == ExitStatus(code=0)

    async def test_the_child_inherits_no_descriptor(self, running: Start) -> None:
        """S17."""
        others = [running(await self.copier()) for _ in range(3)]
        # A directory listing would show the descriptor of the listing itself.
        text = "n=3; while [ $n -lt 300 ]; do [ -e /proc/$$/fd/$n ] && echo leak $n; n=$((n+1)); done; echo checked"
        child = running(await self.script(text))
        await child.finish()
        assert child.output() == b"checked" + self.newline
        assert all(other.child.survivors() for other in others)

    async def test_the_child_inherits_no_signal_handling(self, running: Start) -> None:
        numbers = (signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD)
        before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers if number != signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        try:
            child = running(await self.program("grep", "Sig[BI]", "/proc/self/status"))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
            for number, handler in before.items():
                signal.signal(number, handler)
        await child.finish()
        # The C library keeps signals 32 and 33 to itself: its posix_spawn, with which this process may have been
        # started, ignores them, and nobody can set them back.
        internal = 1 << 31 | 1 << 32
        found = [int(line.split()[1], 16) & ~internal for line in child.output().splitlines()]
        assert found == [0, 0]

    @pytest.mark.parametrize(
        ("argv", "cwd", "reason"),
        [
            (["no-such-program"], "/", "No such file"),
            (["./no-such-program"], "/", "No such file"),
            (["/etc/passwd"], "/", "Permission denied"),
            (["/usr"], "/", "directory"),
            (["true"], "/no/such/directory", "start in /no/such/directory: No such file"),
            (["true"], "/etc/passwd", "start in /etc/passwd: Not a directory"),
            (["./not-a-program"], None, "Exec format error"),
            (["true", "x" * 200_000], "/", "Argument list too long"),
        ],
    )
    async def test_a_failed_start_gives_the_systems_reason_and_leaves_nothing(
        self, argv: list[str], cwd: str | None, reason: str
    ) -> None:
        """R13, R14."""
        (self.folder / "not-a-program").write_bytes(b"\x01\x02\x03")
        (self.folder / "not-a-program").chmod(0o755)
        before = what_is_held()
        with pytest.raises(SpawnFailed, match=reason) as caught:
            await self.program(*argv, cwd=cwd or str(self.folder))
        assert caught.value.data["errno"]
        assert nothing_more_is_held(before)

    async def test_nothing_is_left_after_many_children(self) -> None:
        """R13."""

        async def once() -> None:
            child, log = await self.program("true")
            await child.pump(log)
            await child.wait()
            await child.aclose()

        await once()
        before = what_is_held()
        with trio.fail_after(PATIENCE_SECONDS):
            for _ in range(50):
                await once()
        assert nothing_more_is_held(before)

    # -- output ---------------------------------------------------------------------------------------------

    async def test_fast_programs_lose_no_output_under_load(self, running: Start) -> None:
        """R01: the exit may be seen before the output; hundreds of times, beside a flood."""
        flood = running(await self.program("yes"))
        await flood.wait_output(b"y")

        async def several(worker: int) -> None:
            for turn in range(40):
                data = pattern(1 + (worker * 40 + turn) * 137 % 9000)
                child, log = await self.program("printf", "%s", data.decode())
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(child.pump, log)
                    assert await child.wait() == ExitStatus(code=0)
                assert log.read(0, log.end) == (0, data)
                await child.aclose()

        with trio.fail_after(2 * PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                for worker in range(8):
                    nursery.start_soon(several, worker)

    async def test_exit_and_end_of_output_are_separate(self, running: Start) -> None:
        """R02: a grandchild that survives the hang-up keeps the output open, and still prints."""
        os.mkfifo(self.folder / "go")
        text = "trap '' HUP; { read x < go; echo late; } & echo $!"
        child = running(await self.program("sh", "-c", text, cwd=str(self.folder)))
        with trio.fail_after(PATIENCE_SECONDS):
            assert await child.child.wait() == ExitStatus(code=0)
        at = await child.wait_output(self.newline)
        assert not child.output_closed.is_set()
        assert child.child.survivors() == [int(child.output())]
        grandchild = os.pidfd_open(int(child.output()))
        # Opened for both, so that it does not wait for the reader.
        fd = os.open(self.folder / "go", os.O_RDWR)
        os.write(fd, b"\n")
        await child.wait_output(b"late" + self.newline, after=at)
        await child.finish()
        # A process closes its terminal a moment before it is gone.
        with trio.fail_after(PATIENCE_SECONDS):
            await trio.lowlevel.wait_readable(grandchild)
        os.close(grandchild)
        os.close(fd)
        assert child.child.survivors() == []

    # -- input ----------------------------------------------------------------------------------------------

    async def test_a_program_that_does_not_read_blocks_nobody_else(self, running: Start) -> None:
        """R05."""
        deaf = running(await self.script("trap 'exit 9' TERM; echo ready; while :; do sleep 100 & wait $!; done"))
        await deaf.wait_output(b"ready")
        sent = 0

        async def paste() -> None:
            nonlocal sent
            data = memoryview(b"0123456789abcde\n" * 640_000)
            while sent < len(data):
                sent += await deaf.child.send_some(data[sent:])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(paste)
            with trio.fail_after(PATIENCE_SECONDS):
                while True:
                    await trio.testing.wait_all_tasks_blocked(0.05)
                    # On a busy machine a moment of rest is not yet the end of what is taken.
                    if deaf.child.send_nowait(b"more") == 0:
                        break
            other = running(await self.copier())
            await other.send(b"hello\n")
            await other.wait_output(b"hello")
            nursery.cancel_scope.cancel()
        assert sent < 10_000_000
        deaf.child.signal(signal.SIGTERM, whole_session=False)
        with trio.fail_after(PATIENCE_SECONDS):
            assert await deaf.child.wait() == ExitStatus(code=9)

    async def test_input_that_waits_is_refused_when_the_program_ends(self, running: Start) -> None:
        child = running(await self.script("echo ready; exec sleep 1000"))
        await child.wait_output(b"ready")
        refused = trio.Event()

        async def paste() -> None:
            with pytest.raises(InputClosed):
                await child.send(b"0123456789abcde\n" * 640_000)
            refused.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(paste)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert not refused.is_set()
            child.child.signal(signal.SIGKILL, whole_session=True)
            with trio.fail_after(PATIENCE_SECONDS):
                await refused.wait()
        await child.finish()

    # -- signals --------------------------------------------------------------------------------------------

    async def test_a_signal_reaches_the_group(self, running: Start) -> None:
        child = running(await self.script("trap 'echo caught; exit 4' USR1; echo ready; while :; do sleep 0.05; done"))
        await child.wait_output(b"ready")
        child.child.signal(signal.SIGUSR1, whole_session=False)
        # SIGUSR1 ends the sleeps of the group as well.
        assert await child.finish() == ExitStatus(code=4)
        assert b"caught" in child.output()

    async def test_the_whole_session_includes_background_and_stopped_jobs(self, running: Start) -> None:
        """R12: the close ladder's signals reach processes in groups of their own, stopped or not."""
        text = "set -m; sleep 1000 & sleep 1001 & kill -STOP $!; echo pids $$ $(jobs -p); wait"
        child = running(await self.program("bash", "-c", text))
        at = await child.wait_output(b"pids ")
        await child.wait_output(self.newline, after=at)
        pids = [int(word) for word in child.output().split(b"pids ")[1].split()]
        assert len(pids) == 3
        assert set(child.child.survivors()) >= set(pids)
        gone = [os.pidfd_open(pid) for pid in pids]
        child.child.signal(signal.SIGTERM, whole_session=True)
        child.child.signal(signal.SIGCONT, whole_session=True)  # a stopped process ends no sooner than it goes on
        with trio.fail_after(PATIENCE_SECONDS):
            for pidfd in gone:
                await trio.lowlevel.wait_readable(pidfd)
                os.close(pidfd)
            await child.finish()
        assert child.child.survivors() == []
