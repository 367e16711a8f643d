"""Being on a session: the exact screen, then everything live; input, sizes and acknowledgements the other way.

How it works: two tasks per attachment. The sender is a reader of the transcript; it starts with a snapshot taken at an
offset and goes on with the raw log from just there, so attaching cannot race. A reader the ring has overtaken gets a
gap and a fresh snapshot. A client that asks for a window is sent no more than that beyond what it has acknowledged. A
client whose window differs from the session's gets painted pictures instead of raw
output, which only fits a terminal of the session's size. The receiver takes frames and passes input on, checking at
every frame what the attachment may do at that moment.
"""

import secrets

import trio

from ptybridge.api import attach as api
from ptybridge.api.endpoint import Channel
from ptybridge.core.eventlog import now_ms
from ptybridge.core.leases import Holder
from ptybridge.core.replies import ReplyFilter
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions
from ptybridge.core.winsize import Attachment
from ptybridge.errors import Denied, InvalidParams, PtybridgeError, SessionExited
from ptybridge.model import Caller, ExitStatus, Mode, WindowSize
from ptybridge.service import authority
from ptybridge.service.dispatcher import handles
from ptybridge.service.painter import Painter
from ptybridge.service.window import AckWindow
from ptybridge.wire import attach as frames

CHUNK_BYTES = 128 * 1024
# A picture is repainted at most this often; more is not seen.
PAINT_SECONDS = 1 / 30
# An unfinished escape sequence from a client's keyboard is passed on after this long.
HELD_INPUT_SECONDS = 0.05
DEFAULT_SCROLLBACK = 1000
# How long the end waits for a client with a window to have shown everything (R27).
FINAL_ACK_SECONDS = 10.0
# As `model.Cols` and `model.Rows` have it; the frame's u16 could say more.
MAX_CELLS = 10_000


class AttachService:
    """`session.attach`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @handles(api.ATTACH)
    async def attach(self, caller: Caller, params: api.Attach, channel: Channel) -> None:
        """Serve one attachment until either side ends it."""
        session = self._sessions.get(params.session_id)
        if params.mode == "writer":
            if not authority.may(caller, "session:write"):
                raise Denied("attaching as a writer needs the scope session:write", hint="attach with mode viewer")
            authority.require(caller, session, "read-write")
        authority.require_room(caller, session)
        await _Attached(session, caller, params, channel).run()


class _Attached:
    def __init__(self, session: Session, caller: Caller, params: api.Attach, channel: Channel) -> None:
        self.session = session
        self.channel = channel
        self.params = params
        self.caller = caller
        self.client = authority.client_of(caller, params.client_id)
        self.leaving = trio.Event()
        self.reason = ("detached", "")
        self.attachment = Attachment(
            secrets.token_hex(4),
            self.client.client_id,
            mode=self._allowed_mode(session),
            size=WindowSize(params.rows, params.cols),
            pid=caller.pid,
            attached_at_ms=now_ms(),
            ended=self._end,
        )
        self.replies = ReplyFilter()
        self.window = AckWindow(params.ack_window_bytes)
        self.painter = Painter(session.follower.screen)
        self.sizes_seen = 0
        self.inline = False
        self.told_exit = False
        self.told_holder: Holder | None = None
        self.reader = session.log.reader(0, sink=self)

    def _end(self, reason: str, text: str) -> None:
        self.reason = (reason, text)
        self.leaving.set()

    async def run(self) -> None:
        session, attachment = self.session, self.attachment
        # Being here under a name is what keeps the lease of that name from being taken for a dead client's.
        session.lease.presence.seen(self.client, self.caller.connection_id)
        session.attach(attachment)
        try:
            offset = self.params.offset if self.params.offset is not None else session.log.end
            if offset > session.log.end:
                raise InvalidParams(f"offset {offset} lies beyond the end of the transcript, {session.log.end}")
            await self.channel.opened(
                api.AttachedResult(
                    attachment_id=attachment.attachment_id,
                    session_id=session.session_id,
                    name=session.labels.name,
                    mode=attachment.mode,
                    rows=session.size.rows,
                    cols=session.size.cols,
                    window_size_policy=session.attachments.policy,
                    offset=offset,
                )
            )
            await self._tell_holder()
            if session.limits.overflow == "pause":
                # The program waits for who is really there; and while it waits, a client has nothing to say by itself.
                await self.channel.send(frames.encode(frames.Ping()))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._until_leaving, nursery.cancel_scope)
                nursery.start_soon(self._receive, nursery.cancel_scope)
                await self._send()
                with trio.move_on_after(FINAL_ACK_SECONDS):
                    await self.window.drained()
                if not self.leaving.is_set():
                    self._end("closed" if session.exit_reason == "closed" else "exited", "")
                nursery.cancel_scope.cancel()
            if self.leaving.is_set():
                with trio.move_on_after(1):
                    reason, text = self.reason
                    if session.exited.is_set() and not self.told_exit:
                        await self._send_exit()
                    await self.channel.send(frames.encode(frames.Detached(reason=reason, text=text)))
        finally:
            session.detach(attachment, self.reason[0])

    async def _until_leaving(self, scope: trio.CancelScope) -> None:
        await self.leaving.wait()
        scope.cancel()

    # -- to the client --------------------------------------------------------------------------------------

    def offer_nowait(self, offset: int, chunk: bytes) -> bool:
        """The inline lane: see `ptybridge.core.transcript.Sink`."""
        if not self.inline or self.window.room(len(chunk)) < len(chunk):
            return False
        if self.channel.offer_nowait(frames.output_head(offset, len(chunk)), chunk):
            self._sent(offset + len(chunk))
            return True
        return False

    def _sent(self, offset: int) -> None:
        self.attachment.sent_offset = offset
        self.window.sent(offset)

    async def _send(self) -> None:
        """Send until the session has ended and everything is out, or the attachment is told to leave."""
        session = self.session
        if self.params.offset is None:
            lines = self.params.scrollback_lines
            await self._snapshot(DEFAULT_SCROLLBACK if lines is None else lines)
        else:
            self.reader.offset = self.params.offset
            # It has what came before; were it to say so first, a program that waits for it would wait for ever.
            self.attachment.acked_offset = self.params.offset
            self.window.restart(self.params.offset)
            session.log.floor_moved()
            self.attachment.replies_from = session.log.end
            self.sizes_seen = session.sizes.seen_at(self.params.offset)
            await self._tell_size(session.size_after(self.sizes_seen))
        while True:
            await self._check_mode()
            await self._follow_sizes()
            if self.attachment.rendered:
                await self._paint()
            elif self.reader.behind > 0:
                await self._send_output()
                continue
            if session.exited.is_set() and not self.told_exit:
                await self._send_exit()
                continue
            if session.log.closed and self.told_exit:
                return  # what was sent stays readable for the client after the connection's end
            await self._wait()

    async def _wait(self) -> None:
        if self.attachment.rendered:
            changed = trio.Event()
            self.session.repaint.add(changed.set)
            try:
                if self.reader.behind == 0 and not self.session.log.closed:
                    await changed.wait()
                await trio.sleep(PAINT_SECONDS)
                await self.window.drained()
            finally:
                self.session.repaint.discard(changed.set)
            return
        self.inline = True
        try:
            await self.reader.wait()
        finally:
            self.inline = False

    async def _send_output(self) -> None:
        expected = self.reader.offset
        room = self.window.room(CHUNK_BYTES)
        if not room:
            await self.window.wait()
            return
        change = self.session.sizes.next(self.sizes_seen)
        limit = room if change is None else min(room, max(1, change[0] - expected))
        offset, data = self.reader.take(limit)
        if offset > expected:
            await self._snapshot(gap_from=expected)
            return
        await self.channel.send(frames.output_head(offset, len(data)), data)
        self._sent(offset + len(data))

    async def _snapshot(self, scrollback_lines: int = 0, *, gap_from: int | None = None) -> None:
        """Send the exact screen and go on from its offset; a client of another size gets a picture.

        Scrollback goes out once, at the beginning: a terminal would add it to its own each time. `gap_from`: the
        client has missed what lies between there and the snapshot, and is told so first. A client with a window gets
        it when it has shown what came before: else one that shows nothing would get the present again and again.
        """
        session = self.session
        await self.window.mostly_shown()
        await session.follower.catch_up()
        screen = session.follower.screen
        self.attachment.rendered = self._mismatched()
        marked: list[tuple[int, int]] = []
        if self.params.marks:
            offset, picture, marked = screen.capture_marked(scrollback_lines)
        else:
            offset, picture = screen.capture(scrollback_lines)
        self.reader.offset = offset
        # The picture's own size: the session may get another one while this is sent.
        self.sizes_seen = session.sizes.seen_at(offset)
        size = session.size_after(self.sizes_seen)
        self.attachment.replies_from = offset
        self.window.restart(offset)
        if gap_from is not None:
            await self.channel.send(frames.encode(frames.Gap(start=gap_from, end=offset)))
        await self._tell_size(size)
        if self.attachment.rendered:
            self.painter.forget()
            return
        # Before it is sent, as in _paint.
        self.window.painted(offset)
        await self.channel.send(
            frames.encode(frames.Snapshot(offset=offset, rows=size.rows, cols=size.cols, data=picture))
        )
        if self.params.marks:
            await self.channel.send(frames.encode(frames.Marks(command_marks(session, marked))))
        self.attachment.sent_offset = offset

    def _mismatched(self) -> bool:
        return self.attachment.size != self.session.size

    async def _tell_size(self, size: WindowSize | None = None) -> None:
        """Tell the size the terminal had at this place (without one: has now), and what will follow."""
        self.attachment.rendered = self._mismatched()
        size = size or self.session.size
        flags = frames.RENDERED_FRAMES if self.attachment.rendered else 0
        await self.channel.send(frames.encode(frames.Resized(rows=size.rows, cols=size.cols, flags=flags)))

    async def _follow_sizes(self) -> None:
        """Tell changes of the session's size at their place, and change between raw output and pictures."""
        change = self.session.sizes.next(self.sizes_seen)
        if change is not None and (self.attachment.rendered or change[0] <= self.reader.offset):
            was_rendered = self.attachment.rendered
            self.sizes_seen += 1
            if self.session.sizes.next(self.sizes_seen) is None and was_rendered != self._mismatched():
                await self._snapshot()
                return
            await self._tell_size(change[1])
        elif change is None and self.attachment.rendered != self._mismatched():
            await self._snapshot()

    async def _paint(self) -> None:
        await self.session.follower.catch_up()
        offset, picture = self.painter.paint(self.attachment.size)
        self.reader.offset = offset
        if picture:
            # Before it is sent: its acknowledgement may be back before we go on, and would be forgotten.
            self.window.painted(offset)
            await self.channel.send(frames.encode(frames.Rendered(offset=offset, data=picture)))
        self.attachment.sent_offset = self.attachment.acked_offset = offset

    async def _send_exit(self) -> None:
        session = self.session
        status = session.status or ExitStatus()
        await self.channel.send(
            frames.encode(
                frames.Exited(
                    exit_code=status.code,
                    exit_signal=status.signal,
                    exit_reason=session.exit_reason or "lost",
                    end_offset=session.log.end,
                    output_closed=session.output_closed,
                )
            )
        )
        self.told_exit = True

    # -- from the client ------------------------------------------------------------------------------------

    async def _receive(self, scope: trio.CancelScope) -> None:
        buffer = frames.FrameBuffer()
        while True:
            if self.replies.held:
                with trio.move_on_after(HELD_INPUT_SECONDS) as waiting:
                    data = await self.channel.receive()
                if waiting.cancelled_caught:
                    await self._input(self.replies.flush())
                    continue
            else:
                data = await self.channel.receive()
            if not data:
                self.reason = ("gone", "")
                break
            try:
                taken = buffer.feed(data)
            except PtybridgeError as exc:
                # Where the next frame would begin is not known any more.
                await self._tell_error(exc)
                self._end("protocol_error", exc.message)
                break
            self.session.heard_from(self.attachment)
            for frame in taken:
                try:
                    await self._take(frame)
                except PtybridgeError as exc:
                    await self._tell_error(exc)
        scope.cancel()

    async def _take(self, frame: frames.Frame) -> None:
        session, attachment = self.session, self.attachment
        match frame:
            case frames.Input(data=data):
                await self._check_mode()
                if attachment.mode != "writer":
                    await self._refuse_input()
                    return
                if b"\x1b" in data or self.replies.held:
                    answers = (
                        session.attachments.latest() is attachment
                        and not session.answers_itself
                        and attachment.acked_offset >= attachment.replies_from
                    )
                    data = self.replies.feed(data, answers)
                await self._input(data)
            case frames.Resize(rows=rows, cols=cols):
                await self._check_mode()
                attachment.size = WindowSize(*(min(max(1, cells), MAX_CELLS) for cells in (rows, cols)))
                if attachment.mode == "writer":
                    session.attachments.touch(attachment)
                    session.apply_policy()
                session.nudge()
            case frames.Ack(offset=offset):
                attachment.acked_offset = min(max(attachment.acked_offset, offset), session.log.end)
                self.window.acknowledge(min(offset, session.log.end))
                session.log.floor_moved()
            case frames.Ping(token=token):
                await self.channel.send(frames.encode(frames.Pong(token=token)))
            case frames.Detach():
                self._end("detached", "")
            case _:
                pass  # a frame of a newer client, or a pong

    def _allowed_mode(self, session: Session) -> Mode:
        """What the client may be now: a writer only if it wants to, and neither access nor a lease is against it."""
        if self.params.mode != "writer" or not authority.has_access(session, "read-write"):
            return "viewer"
        return "writer" if session.lease.allows(self.client) else "viewer"

    async def _check_mode(self) -> None:
        """Make a viewer of a writer whose session became read-only or leased to another, and a writer of it again."""
        session, attachment = self.session, self.attachment
        mode = self._allowed_mode(session)
        if attachment.mode != mode:
            attachment.mode = mode
            session.apply_policy()
            await self.channel.send(frames.encode(frames.Mode(writer=mode == "writer")))
        await self._tell_holder()

    async def _tell_holder(self) -> None:
        """Tell somebody who wants to write who has the lease: at first, and whenever that is another one."""
        lease = self.session.lease
        holder = None if lease.allows(self.client) else lease.holder
        if holder != self.told_holder:
            self.told_holder = holder
            await self._refuse_input()

    async def _refuse_input(self) -> None:
        """Tell somebody who wants to write that another has the lease."""
        lease = self.session.lease
        if self.params.mode == "writer" and not lease.allows(self.client):
            await self._tell_error(lease.refusal(self.session.session_id))

    async def _input(self, data: bytes) -> None:
        if not data:
            return
        # What a terminal answers by itself was filtered out: only what somebody typed makes the latest writer.
        if self.session.attachments.touch(self.attachment):
            self.session.apply_policy()
        try:
            if self.session.input.write_nowait(data) is None:
                await self.session.input.write(data)
        except SessionExited:
            return  # the exit frame is on its way
        except PtybridgeError as exc:
            await self._tell_error(exc)

    async def _tell_error(self, exc: PtybridgeError) -> None:
        await self.channel.send(frames.encode(frames.Error(code=exc.code, message=exc.message, hint=exc.hint)))


def command_marks(session: Session, marked: list[tuple[int, int]]) -> list[frames.CommandMark]:
    """Tell what has become of the commands whose prompts stand in these lines; a prompt is known by its offset."""
    commands = {one.offset: one for one in session.commands.history if one.trusted}
    marks = []
    for offset, line in marked:
        command = commands.get(offset)
        if command is None:
            marks.append(frames.CommandMark(line, "prompt"))
        elif command.output_end is None:
            marks.append(frames.CommandMark(line, "running"))
        else:
            marks.append(frames.CommandMark(line, "done", command.exit_code))
    return marks
