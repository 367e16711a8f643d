"""The contract of children behind a terminal, on top of `contract.ProgramContract`; used in the same way."""

import signal

import trio

from ptybridge.core import procinfo
from ptybridge.core.child import Child, ChildSpec, LineMode
from ptybridge.core.transcript import Transcript
from ptybridge.model import ExitStatus, WindowSize
from ptybridge.testing.contract import ProgramContract, Start
from ptybridge.testing.running import ENV, PATIENCE_SECONDS, SIZE


class TerminalContract(ProgramContract):
    """What holds for every child behind a terminal."""

    newline = b"\r\n"

    async def shell(self) -> tuple[Child, Transcript]:
        """Start an interactive bash without anybody's configuration."""
        return await self.program("bash", "--norc", "--noprofile", "-i", env={"HISTFILE": "", "PS1": "prompt> "})

    async def test_the_terminal_is_the_childs_own_cooked_and_utf8(self, running: Start) -> None:
        child = running(await self.script("stty -a; tty; tty </dev/tty; stty size; ps -o tty=,sid= -p $$"))
        await child.finish()
        text = child.output().decode()
        assert " icanon " in text
        assert " echo " in text
        assert " iutf8" in text
        assert "\r\n24 80\r\n" in text
        assert "/dev/pts/" in text
        assert "/dev/tty\r\n" in text
        assert text.split()[-1] == str(child.child.pid)

    async def test_echo_can_be_off_from_the_start(self, running: Start) -> None:
        spec = ChildSpec(argv=["cat"], cwd="/", env=ENV, size=SIZE, echo=False)
        child = running(await self.spawn(spec))
        await child.send(b"secret\n")
        await child.wait_output(b"secret\r\n")
        await child.child.close_input()
        await child.finish()
        assert child.output() == b"secret\r\n"

    async def test_a_resize_reaches_the_program(self, running: Start) -> None:
        """R11."""
        child = running(await self.script("trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"))
        await child.wait_output(b"ready")
        child.child.resize(WindowSize(rows=50, cols=132))
        await child.wait_output(b"50 132")
        child.child.resize(WindowSize(rows=1, cols=1))
        await child.wait_output(b"1 1")

    async def test_ctrl_c_interrupts_the_foreground(self, running: Start) -> None:
        child = running(await self.script("echo ready; exec sleep 1000"))
        await child.wait_output(b"ready")
        await child.send(b"\x03")
        assert await child.finish() == ExitStatus(signal="SIGINT")

    async def test_job_control_works(self, running: Start) -> None:
        child = running(await self.shell())
        at = await child.wait_output(b"prompt> ")
        assert child.child.foreground_pgid() == child.child.pgid
        # Only after "up" does bash leave its raw mode, in which typed-ahead lines would not end.
        await child.send(b"echo up; cat\r")
        at = await child.wait_output(b"up\r\n", after=at)
        await child.send(b"one\r")
        at = await child.wait_output(b"one\r\none\r\n", after=at)
        job = child.child.foreground_pgid()
        assert job not in (None, child.child.pgid)
        found = procinfo.foreground(job)
        assert found is not None
        assert (found.name, found.command) == ("cat", ["cat"])
        await child.send(b"\x1a")
        at = await child.wait_output(b"Stopped", after=at)
        at = await child.wait_output(b"prompt> ", after=at)
        await child.send(b"fg\r")
        at = await child.wait_output(b"cat\r\n", after=at)
        await child.send(b"two\r")
        at = await child.wait_output(b"two\r\ntwo\r\n", after=at)
        child.child.signal(signal.SIGINT, whole_session=False)
        at = await child.wait_output(b"prompt> ", after=at)
        await child.send(b"exit 7\r")
        assert await child.finish() == ExitStatus(code=7)

    async def test_the_line_mode_is_told(self, running: Start) -> None:
        """R04, R30."""
        text = "stty -echo; echo quiet; read x; stty raw; echo raw; read x; stty sane ixon; cat"
        child = running(await self.script(text))
        await child.wait_output(b"quiet")
        assert child.child.line_mode() == LineMode(canonical=True, echo=False)
        await child.send(b"\n")
        await child.wait_output(b"raw")
        assert child.child.line_mode() == LineMode(canonical=False, echo=False)
        await child.send(b"\nsane\n")
        at = await child.wait_output(b"sane\r\n")
        await child.send(b"\x13")
        # The kernel takes input in at its leisure; nothing can be waited for.
        with trio.fail_after(PATIENCE_SECONDS):
            while child.child.line_mode() != LineMode(canonical=True, echo=True, flow_stopped=True):  # noqa: ASYNC110
                await trio.sleep(0.001)
        await child.send(b"x\n\x11")
        await child.wait_output(b"x\r\n", after=at)
        assert child.child.line_mode() == LineMode(canonical=True, echo=True)
