import errno

import pytest
import trio

from ptybridge.backends import pipes
from ptybridge.core.child import Child, ChildSpec
from ptybridge.core.transcript import Transcript
from ptybridge.errors import InputClosed, OutOfDescriptors
from ptybridge.testing.contract import ProgramContract, Start
from ptybridge.testing.running import ENV, SIZE, limited_descriptors, nothing_more_is_held, what_is_held


class TestPipes(ProgramContract):
    async def spawn(self, spec: ChildSpec) -> tuple[Child, Transcript]:
        return await pipes.spawn(spec), pipes.new_transcript(spec)

    async def test_both_streams_are_kept_in_order_of_arrival_and_apart(self, running: Start) -> None:
        text = "echo 1; read x; echo 2 >&2; read x; echo 3; read x; echo 4 >&2"
        child = running(await self.script(text))
        for number in (b"1", b"2", b"3"):
            await child.wait_output(number + b"\n")
            await child.send(b"\n")
        await child.finish()
        assert child.output() == b"1\n2\n3\n4\n"
        segments, ring = child.log.segments, child.log.ring
        assert segments is not None
        assert segments.read_stream(ring, 0, 0, 100)[:2] == (0, b"1\n3\n")
        assert segments.read_stream(ring, 1, 0, 100)[:2] == (0, b"2\n4\n")

    async def test_input_after_half_closing_is_refused(self, running: Start) -> None:
        child = running(await self.script("cat >/dev/null; echo end; read x"))
        await child.child.close_input()
        await child.wait_output(b"end")
        with pytest.raises(InputClosed):
            child.child.send_nowait(b"x")
        await child.child.close_input()

    async def test_a_broken_pipe_ends_a_program(self, running: Start) -> None:
        """SIGPIPE, which Python ignores, has its default action in the child."""
        child = running(await self.program("bash", "-c", "yes | true; echo ${PIPESTATUS[0]}"))
        await child.finish()
        assert child.output() == b"141\n"

    async def test_a_failed_start_for_want_of_descriptors_leaks_none(self) -> None:
        before = what_is_held()
        seen = []
        for free in range(24):
            with limited_descriptors(free):
                try:
                    child, _ = await self.program("true")
                except OutOfDescriptors as exc:
                    seen.append(exc.data["errno"])
                else:
                    seen.append(0)
                    await child.wait()
                    await child.aclose()
            assert nothing_more_is_held(before)
        assert (seen[0], seen[-1]) == (errno.EMFILE, 0)


async def test_the_segment_index_is_sized_for_the_ring() -> None:
    await trio.lowlevel.checkpoint()  # a transcript asks for the time of a running loop
    spec = ChildSpec(argv=["true"], cwd="/", env=ENV, size=SIZE, capacity=1 << 20)
    log = pipes.new_transcript(spec)
    assert log.segments is not None
    assert log.segments.slots >= 8192
