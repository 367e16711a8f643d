"""What a libghostty terminal reports while it parses: replies, bells, titles, notifications.

Every callback costs a microsecond of Python, so a flood of them is cut short: once enough has happened the
callback is taken out of the terminal, and put back when somebody collects. Replies pass an allow-list of forms
that contain nothing but numbers of ours or fixed text; everything else is dropped (S23).
"""

import re
from types import SimpleNamespace
from typing import Any, Final

from ptybridge.core.emulator import BellRang, Notified, ScreenEvent, TitleChanged
from ptybridge.text import printable

MAX_BELLS: Final = 32
MAX_NOTIFICATIONS: Final = 16
MAX_REPLY_BYTES: Final = 4096

_ALLOWED: Final = re.compile(
    rb"\x1b\[[?>][0-9;]{1,32}c"  # DA1, DA2
    rb"|\x1b\[0n"  # DSR 5: in order
    rb"|\x1b\[\??[0-9]{1,5};[0-9]{1,5}R"  # DSR 6: cursor position
    rb"|\x1b\[\??[0-9]{1,5};[0-4]\$y"  # DECRQM
    rb"|\x1b\[\?[0-9]{1,3}u"  # kitty keyboard flags
    rb"|\x1bP>\|libghostty\x1b\\"  # XTVERSION
)


class Outbox:
    """What one terminal has reported and nobody has taken yet."""

    def __init__(self, native: Any, terminal: Any, only: str | None = None) -> None:
        self._native = native
        self._terminal = terminal
        self.confined = True
        self.bells = 0
        self.retitled = False
        self.notifications: list[Notified] = []
        self.replies = bytearray()
        self._handle = native.ffi.new_handle(self)
        native.lib.ghostty_terminal_set(terminal, native.lib.GHOSTTY_TERMINAL_OPT_USERDATA, self._handle)
        for name in (only,) if only else vars(native.callbacks):
            self._arm(name, on=True)

    def _arm(self, name: str, *, on: bool) -> None:
        native = self._native
        callback = getattr(native.callbacks, name) if on else native.ffi.NULL
        native.lib.ghostty_terminal_set(self._terminal, getattr(native.lib, f"GHOSTTY_TERMINAL_OPT_{name}"), callback)

    def text(self, string: Any) -> str:
        """Decode a string of the library's, which it may free at the next write."""
        if string.len == 0:
            return ""
        return bytes(self._native.ffi.buffer(string.ptr, string.len)).decode("utf-8", "replace")

    # -- called by the library ------------------------------------------------------------------------------

    def on_reply(self, data: bytes) -> None:
        if self.confined and not _ALLOWED.fullmatch(data):
            return
        self.replies += data
        if len(self.replies) >= MAX_REPLY_BYTES:
            self._arm("WRITE_PTY", on=False)

    def on_bell(self) -> None:
        self.bells += 1
        if self.bells >= MAX_BELLS:
            self._arm("BELL", on=False)

    def on_title(self) -> None:
        self.retitled = True
        self._arm("TITLE_CHANGED", on=False)

    def on_notification(self, title: str, body: str) -> None:
        self.notifications.append(Notified(title=printable(title), body=printable(body)))
        if len(self.notifications) >= MAX_NOTIFICATIONS:
            self._arm("DESKTOP_NOTIFICATION", on=False)

    # -- called by the owner --------------------------------------------------------------------------------

    def take_replies(self) -> bytes:
        replies = bytes(self.replies)
        if replies:
            self.replies.clear()
            self._arm("WRITE_PTY", on=True)
        return replies

    def take_events(self) -> list[ScreenEvent]:
        events: list[ScreenEvent] = []
        if self.retitled:
            out = self._native.ffi.new("GhosttyString*")
            self._native.lib.ghostty_terminal_get(self._terminal, self._native.lib.GHOSTTY_TERMINAL_DATA_TITLE, out)
            events.append(TitleChanged(title=printable(self.text(out[0]))))
            self.retitled = False
            self._arm("TITLE_CHANGED", on=True)
        if self.bells:
            events.append(BellRang(count=self.bells))
            self.bells = 0
            self._arm("BELL", on=True)
        if self.notifications:
            events += self.notifications
            self.notifications = []
            self._arm("DESKTOP_NOTIFICATION", on=True)
        return events


def install_callbacks(ffi: Any, lib: Any) -> SimpleNamespace:
    """Make the C callbacks all terminals share; the names are those of the library's options."""

    def reply(_terminal: Any, outbox: Any, data: Any, length: int) -> None:
        ffi.from_handle(outbox).on_reply(bytes(ffi.buffer(data, length)))

    def bell(_terminal: Any, outbox: Any) -> None:
        ffi.from_handle(outbox).on_bell()

    def title(_terminal: Any, outbox: Any) -> None:
        ffi.from_handle(outbox).on_title()

    def notification(_terminal: Any, outbox: Any, note: Any) -> None:
        box = ffi.from_handle(outbox)
        box.on_notification(box.text(note.title), box.text(note.body))

    return SimpleNamespace(
        WRITE_PTY=ffi.callback("GhosttyTerminalWritePtyFn", reply),
        BELL=ffi.callback("GhosttyTerminalBellFn", bell),
        TITLE_CHANGED=ffi.callback("GhosttyTerminalTitleChangedFn", title),
        DESKTOP_NOTIFICATION=ffi.callback("GhosttyTerminalDesktopNotificationFn", notification),
    )
