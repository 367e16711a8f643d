"""A session's log on disk: what it printed (`transcript.log`) and what was done with it (`events.jsonl`).

How it works: the log is a reader of the transcript like any other. It gathers a little, takes the secrets out and
writes in a thread. The program waits for it as it waits for the screen model, but only while the disk keeps up: when
a write takes longer than `PATIENCE_SECONDS` or fails, output flows on, and what is overwritten meanwhile is missing
from the log, which says so. Input, reasons people give and secrets are never written.

What is written is noted together with the file's size. A daemon that takes over cuts off what was written after
the last note and writes it anew, so nothing is doubled and nothing is missing.
"""

import codecs
import json
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec
import trio

from ptybridge.core.logfiles import DirectoryLock, RotatingFile
from ptybridge.core.memory import SavedLog
from ptybridge.core.redaction import MAX_KEY_BYTES, Redactor, Secrets, redact
from ptybridge.core.transcript import Transcript
from ptybridge.model import Attached, Closed, Detached, Event, Exited, LeaseChanged, Resized

log = logging.getLogger(__name__)

TRANSCRIPT: Final = "transcript.log"
EVENTS: Final = "events.jsonl"
# Redacting so much takes some ms, during which other threads stand still.
CHUNK_BYTES: Final = 64 << 10
# A terminal prints in many small pieces; a disk likes few.
GATHER_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 1.0
# So long a daemon that hands over may take to end.
TAKEOVER_SECONDS: Final = 10.0
# Beyond that they are counted.
QUEUED_EVENTS: Final = 4096


class LogLimits(msgspec.Struct, frozen=True):
    """How large each file may become, and how many of them are kept."""

    max_bytes: int
    files: int


class SessionLog:
    """One session's log. `run` writes until `stop` is called; whoever owns the session calls it."""

    def __init__(
        self,
        session_id: str,
        transcript: Transcript,
        saved: SavedLog,
        *,
        limits: LogLimits,
        secrets: Secrets,
        threads: trio.CapacityLimiter,
    ) -> None:
        self.saved = saved
        self.on_saved: Callable[[SavedLog], None] = lambda saved: None
        self._session_id = session_id
        self._log = transcript
        self._reader = transcript.reader(saved.offset)
        self._secrets = secrets
        self._redactor = Redactor(secrets)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._transcript = RotatingFile(saved.directory, TRANSCRIPT, limits.max_bytes, limits.files)
        self._events = RotatingFile(saved.directory, EVENTS, limits.max_bytes, limits.files)
        self._lock = DirectoryLock(saved.directory)
        self._queue: deque[dict[str, Any]] = deque()
        self._dropped_bytes = self._dropped_events = 0
        self._threads = threads
        self._more = trio.Event()
        self._written = trio.Event()
        self._ended = trio.Event()
        self._stopping = self._leaving = self._finished = False
        self._behind = False  # the disk does not keep up: nobody waits for us
        self._complained = False

    # -- what happens ---------------------------------------------------------------------------------------

    def note(self, event: str, **fields: Any) -> None:
        """Write an event down soon. Never waits."""
        if self._queue and event == "write" == self._queue[-1]["event"]:
            self._queue[-1]["bytes"] += fields["bytes"]  # keystrokes
            return
        if len(self._queue) >= QUEUED_EVENTS:
            self._dropped_events += 1
            return
        self._queue.append({"ts": round(time.time(), 3), "event": event, **fields})
        self._more.set()
        self._reader.wake()

    @property
    def ending(self) -> bool:
        """Whether nothing more is to come."""
        return self._stopping

    def wrote(self, size: int) -> None:
        """Write down that so many bytes of input were accepted."""
        self.note("write", bytes=size)

    def spawned(self, facts: dict[str, Any]) -> None:
        """Write down how the session began."""
        self.note("spawn", **facts)

    def heard(self, event: Event) -> None:
        """Write down an event of the daemon, if it is of those that belong here."""
        match event:
            case Exited():
                self.note(
                    "exit",
                    exit_code=event.exit_code,
                    exit_signal=event.exit_signal,
                    exit_reason=event.exit_reason,
                    end_offset=event.end_offset,
                )
            case Attached():
                self.note("attach", client_id=event.client_id, from_client_id=None, to_client_id=event.client_id)
            case Detached():
                self.note("detach", client_id=event.client_id, from_client_id=event.client_id, to_client_id=None)
            case LeaseChanged():
                self._transferred(event)
            case Resized():
                self.note("resize", rows=event.rows, cols=event.cols)
            case Closed():
                self.note("close")
                self.end()

    def _transferred(self, event: LeaseChanged) -> None:
        """Write down a change of the lease, in pty-mcp's words: there a lease is attached to."""
        clients = {"from_client_id": event.from_client_id, "to_client_id": event.to_client_id}
        if event.event == "acquire":
            self.note("attach", client_id=event.to_client_id, **clients)
        elif event.event == "release":
            self.note("detach", client_id=event.from_client_id, **clients)
        else:
            self.note(
                event.event,
                client_id=event.from_client_id if event.event == "handoff" else event.to_client_id,
                **clients,
                reason=event.reason,
                affected_session_ids=event.affected_session_ids,
                **{f"workspace_{event.event}": len(event.affected_session_ids) > 1},
            )

    # -- back-pressure --------------------------------------------------------------------------------------

    def floor(self) -> int | None:
        """The transcript's writer may overwrite what is read, and everything while the disk does not keep up."""
        return None if self._behind or self._finished else self._reader.offset

    def _set_behind(self, behind: bool) -> None:
        self._behind = behind
        self._log.floor_moved()

    async def _lose_patience(self) -> None:
        await trio.sleep(PATIENCE_SECONDS)
        self._set_behind(True)

    # -- life -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until stopped."""
        try:
            await self._begin()
            while True:
                if self._reader.behind > 0 or self._queue or self._closing():
                    await self._write_some()
                elif self._stopping:
                    return
                else:
                    await self._wait()
        finally:
            self._finished = True
            self._log.floor_moved()
            self._written.set()
            self._ended.set()
            self._transcript.close()
            self._events.close()
            self._lock.release()

    async def catch_up(self, *, leaving: bool) -> None:
        """Wait until the closed transcript is written; it is not touched afterwards.

        `leaving`: the session lives on, and another daemon goes on with its log.
        """
        self._leaving = leaving
        self._more.set()
        self._reader.wake()
        await self._written.wait()

    def end(self) -> None:
        """Write what is left, and end: nothing more comes."""
        self._stopping = True
        self._more.set()
        self._reader.wake()

    async def wait_ended(self) -> None:
        """Wait until `run` has ended."""
        await self._ended.wait()

    def _closing(self) -> bool:
        """Whether the output has ended and what was held back of it is not written yet."""
        held = self._redactor.pending_bytes or self._decoder.getstate()[0]
        return bool(held) and self._log.closed and not self._leaving

    async def _begin(self) -> None:
        before = max(self._log.start, self.saved.offset - MAX_KEY_BYTES)
        if self.saved.offset > before:
            offset, data = self._log.read(before, self.saved.offset - before)
            if offset == before:
                self._redactor.prime(data)
        await self._try(self._open)

    def _open(self) -> None:
        if not self._lock.acquire(TAKEOVER_SECONDS):
            log.warning("another daemon still writes the log of session %s", self._session_id)
        self._transcript.open(self.saved.size_bytes)

    async def _wait(self) -> None:
        if self._log.closed:
            self._written.set()
            self._more = trio.Event()
            if not self._queue and not self._stopping:
                await self._more.wait()
            return
        await self._reader.wait()
        with trio.move_on_after(GATHER_SECONDS):
            if not self._stopping:
                await self._reader.wait(self._log.ring.capacity // 4)

    async def _write_some(self) -> None:
        expected = self._reader.offset
        offset, data = self._reader.take(CHUNK_BYTES)
        missed = max(0, offset - expected)
        final = self._log.closed and self._reader.behind <= 0 and not self._leaving
        # Not before it is written: until then this daemon's end would lose it.
        self._reader.offset = expected
        events = list(self._queue)
        self._queue.clear()
        done = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lose_patience)
            text = await self._in_thread(lambda: self._text(data, missed=missed > 0, final=final))
            done = await self._write(text, events, missed)
            nursery.cancel_scope.cancel()
        self._reader.offset = offset + len(data)
        held = self._redactor.pending_bytes + len(self._decoder.getstate()[0])
        self.saved = SavedLog(
            directory=self.saved.directory, offset=self._reader.offset - held, size_bytes=self._transcript.size
        )
        if done:
            self.on_saved(self.saved)
        else:
            self._dropped_bytes += len(data)
            self._dropped_events += len(events)
        self._set_behind(not done)
        if not done and not self._stopping:
            await trio.sleep(RETRY_SECONDS)

    def _text(self, data: bytes, *, missed: bool, final: bool) -> bytes:
        pieces = []
        if missed:
            pieces.append(self._decoder.decode(self._redactor.finish(), final=True))
        clean = self._redactor.feed(data)
        pieces.append(self._decoder.decode(clean + (self._redactor.finish() if final else b""), final=final))
        return "".join(pieces).encode()

    async def _write(self, text: bytes, events: list[dict[str, Any]], missed: int) -> bool:
        dropped_bytes, dropped_events = self._dropped_bytes + missed, self._dropped_events
        if dropped_bytes or dropped_events:
            lost = {"ts": round(time.time(), 3), "event": "dropped", "bytes": dropped_bytes, "events": dropped_events}
            events = [lost, *events]
            log.warning(
                "the log of session %s lacks %d bytes and %d events: the disk does not keep up",
                self._session_id,
                dropped_bytes,
                dropped_events,
            )
        if self._transcript.is_full_for(len(text)):
            if not await self._try(self._transcript.rotate):
                return False
            # Noted before anything is in it, or whoever takes over would cut the wrong file.
            self.saved = msgspec.structs.replace(self.saved, size_bytes=0)
            self.on_saved(self.saved)
        if not await self._try(lambda: self._put(text, events)):
            return False
        self._dropped_bytes -= dropped_bytes - missed
        self._dropped_events -= dropped_events
        return True

    def _put(self, text: bytes, events: list[dict[str, Any]]) -> None:
        lines = b"".join(
            json.dumps(self._clean(one), ensure_ascii=False).encode("utf-8", "replace") + b"\n" for one in events
        )
        if lines:
            if self._events.is_full_for(len(lines)):
                self._events.rotate()
            self._events.write(lines)
        if text:
            self._transcript.write(text)

    def _clean(self, value: Any) -> Any:
        """Return an event's value without the secrets in its texts."""
        match value:
            case str():
                return redact(value.encode("utf-8", "replace"), self._secrets.values).decode("utf-8", "replace")
            case list():
                return [self._clean(one) for one in value]
            case dict():
                return {name: self._clean(one) for name, one in value.items()}
        return value

    async def _try(self, work: Callable[[], None]) -> bool:
        """Do something with the files; say so once when it fails."""
        try:
            await self._in_thread(work)
        except OSError as exc:
            if not self._complained:
                self._complained = True
                log.warning("cannot write the log of session %s, which runs on: %s", self._session_id, exc)
            return False
        self._complained = False
        return True

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        # A disk that hangs must not keep the daemon from ending.
        return await trio.to_thread.run_sync(work, limiter=self._threads, abandon_on_cancel=True)
