"""How the output of a kept child gets from its terminal into the transcript's ring.

How it works: while this daemon lives it moves the output itself, with the keeper's pump and under its rules, because
one more process on the way costs each echo a change of process. The keeper lends us the output for that; it pumps
before that, when we are gone, and where it cannot lend (`follow`: then it counts an eventfd up, and we only wake the
transcript's readers). When the keeper is dead (`orphan`) we go on with the pump it has left behind.
"""

import contextlib
import logging
import os

import trio

from ptybridge.backends.keeper_link import KeeperLink
from ptybridge.backends.pace import Pace
from ptybridge.backends.process import ChildProcess
from ptybridge.core.transcript import INLINE_BYTES, Transcript
from ptybridge.errors import Unavailable
from ptybridge.keeper.protocol import KeeperError
from ptybridge.keeper.pump import MOST_PIECES, PIECE_BYTES, Flow, Progress, Pump, State, end_output

log = logging.getLogger(__name__)

# How often to look whether a program has opened its terminal again.
REOPEN_SECONDS = 0.1
# A daemon before us is in its last step, or the keeper has not yet noticed that it was killed in one.
BUSY_SECONDS = 0.01


class KeptOutput:
    """One child's output. `wake` is the eventfd of the present keeper; the descriptors are the child's."""

    def __init__(self, link: KeeperLink, flow: Flow, process: ChildProcess, wake: int, pace: Pace) -> None:
        self.flow = flow
        self.wake = wake
        self.orphan_pump: Pump | None = None
        self._ring = flow.ring
        self._link = link
        self._process = process
        self._pace = pace
        self._seen = 0
        self._mode = trio.CancelScope()
        self._pumping = trio.Lock()

    async def run(self, transcript: Transcript) -> None:
        """Bring the output into the transcript until its end."""
        self._seen = transcript.end
        try:
            while not (self._ring.eof and self._seen >= self._ring.end):
                with trio.CancelScope() as self._mode:
                    if self.orphan_pump is not None:
                        async with self._pumping:
                            # A new keeper may be there since we began to wait for our turn.
                            if (pump := self.orphan_pump) is not None:
                                await self._move(transcript, pump)
                    elif (lent := await self._borrow()) is not None:
                        async with self._pumping:
                            try:
                                await self._move(transcript, lent)
                            finally:
                                self._give_back()
                    else:
                        await self._follow(transcript)
        finally:
            self._pace.forget(self)

    def change(self) -> None:
        """Look anew how it is to be done: the keeper is another one, or has another program, or is gone."""
        self._mode.cancel()

    def note_input(self) -> None:
        """Note that there is input right now: floods of others then rest, for the sake of its echo."""
        self._pace.note_input(self)

    async def settle(self) -> None:
        """Wait until nothing is under way any more after `change`."""
        async with self._pumping:
            pass

    # -- by ourselves ---------------------------------------------------------------------------------------

    async def _borrow(self) -> Pump | None:
        """Ask the keeper to leave the output to us. None if it does not."""
        while (pump := self._link.lent_pump) is not None:
            try:
                (await self._link.request("pump", {"sid": self.flow.number})).close()
            except (Unavailable, OSError):
                return None  # it is lost; we are told what becomes of it
            except KeeperError as exc:
                if exc.kind != "busy":
                    return None  # another daemon is in charge, or we are just handing over to a new keeper
                await trio.sleep(BUSY_SECONDS)
            else:
                return pump
        return None

    def _give_back(self) -> None:
        if not self._ring.eof and not self._link.superseded.is_set():
            self._link.post("pump", sid=self.flow.number, on=False)

    async def _move(self, transcript: Transcript, pump: Pump) -> None:
        """Move output until its end, or until we may not any more."""
        self._tell(transcript)  # what came before it was left to us
        outputs = [stream for stream, is_open in enumerate(self.flow.open) if is_open]
        if len(outputs) == 1:
            await self._move_output(transcript, pump, outputs[0])
            return
        async with trio.open_nursery() as nursery:

            async def move(stream: int) -> None:
                if not await self._move_output(transcript, pump, stream):
                    nursery.cancel_scope.cancel()

            for stream in outputs:
                nursery.start_soon(move, stream)

    async def _move_output(self, transcript: Transcript, pump: Pump, stream: int) -> bool:
        """Return whether it has come to its end."""
        output = self.flow.outputs[stream]
        while True:
            self._move_floor(transcript)
            progress = self._step(pump, stream)
            if progress.size:
                self._pace.note(self)
                self._tell(transcript)
            match progress.state:
                case State.ENDED:
                    await trio.lowlevel.checkpoint()
                    return True
                case State.BUSY:
                    await trio.lowlevel.checkpoint()
                    return False
                case State.HUNG_UP:
                    # As long as the program runs it may open its terminal again.
                    with trio.move_on_after(REOPEN_SECONDS):
                        await self._process.wait()
                case State.FULL:
                    await transcript.wait_room()
                case State.MORE if progress.size >= PIECE_BYTES:
                    await self._pace.turn(self)
                case _:  # a small piece was most likely all, and whether it was costs as much as waiting
                    await trio.lowlevel.wait_readable(output)

    def _step(self, pump: Pump, stream: int) -> Progress:
        try:
            return pump.step(self.flow, stream, min(MOST_PIECES, self._pace.batch(self)))
        except OSError as exc:
            log.error("output %d of the keeper's session %d is unreadable: %s", stream, self.flow.number, exc)
            return end_output(self.flow, stream)

    # -- by the keeper --------------------------------------------------------------------------------------

    async def _follow(self, transcript: Transcript) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_floor, transcript)
            await self._follow_ring(transcript)
            nursery.cancel_scope.cancel()

    async def _follow_ring(self, transcript: Transcript) -> None:
        wake = self.wake
        while True:
            ended = self._ring.eof  # before `end`, which then is final
            # The keeper has a ring's length of freedom past the floor; so it need not follow each keystroke.
            if self._ring.end - self._ring.floor > self._ring.capacity // 4 or self._ring.stalled:
                self._leave_room(transcript)
            self._tell(transcript)
            if ended:
                return
            await trio.lowlevel.wait_readable(wake)
            if self.wake != wake:
                return  # woken by the keeper before; the new one's is another, and this number may be in use again
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(wake)

    async def _keep_floor(self, transcript: Transcript) -> None:
        while True:
            self._leave_room(transcript)
            await transcript.wait_room()

    def _leave_room(self, transcript: Transcript) -> None:
        """Let the keeper overwrite what nobody needs any more."""
        if self._move_floor(transcript) and not self._link.post("room", sid=self.flow.number):
            self._ring.stalled = True  # for whoever is the keeper's daemon

    # -- both -----------------------------------------------------------------------------------------------

    def _tell(self, transcript: Transcript) -> None:
        ring = self._ring
        end = ring.end
        size = end - self._seen
        if size > 0:
            before, self._seen = self._seen, end
            transcript.grew(before, ring.read(before, size)[1] if size <= INLINE_BYTES else None)

    def _move_floor(self, transcript: Transcript) -> bool:
        """Note what may be overwritten; return whether somebody was waiting for that."""
        if self._link.superseded.is_set():
            return False  # the ring is another daemon's by now
        ring = self._ring
        floor = transcript.floor()
        ring.floor = ring.end if floor is None else floor
        if waited := ring.stalled:
            ring.stalled = False
        return waited
