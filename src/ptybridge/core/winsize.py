"""Who is on a session and whose window decides its size.

Policies, recomputed whenever somebody comes, resizes, types or leaves: `latest` is the window of the writer that was
last active, `smallest` and `largest` take each dimension by itself over the writers, `manual` follows nobody. Viewers
never decide: who may only look must not be felt by the program (S21).
"""

from collections.abc import Callable, Iterator

from ptybridge.model import Mode, SizePolicy, WindowSize

# Older ones matter only to a reader that far behind, and it gets the newest size anyway.
KEPT_RESIZES = 256


class SizeHistory:
    """Which size the terminal has had from which offset on; readers count how many they have seen."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[tuple[int, WindowSize]] = []  # an empty deque is 760 bytes

    def add(self, offset: int, size: WindowSize) -> None:
        """Note a change at `offset`."""
        self._kept.append((offset, size))
        del self._kept[:-KEPT_RESIZES]
        self.count += 1

    def seen_at(self, offset: int) -> int:
        """Return how many changes a reader at `offset` has behind it."""
        return self.count - sum(1 for at, _ in self._kept if at > offset)

    def size_after(self, seen: int) -> WindowSize | None:
        """Return the size that the `seen`th change brought, None if that was none or is not kept."""
        at = len(self._kept) - (self.count - seen) - 1
        return self._kept[at][1] if seen and at >= 0 else None

    def since(self, seen: int) -> list[tuple[int, WindowSize]]:
        """Return the changes after the `seen` first ones, as far as they are kept."""
        return self._kept[max(0, len(self._kept) - (self.count - seen)) :]

    def next(self, seen: int) -> tuple[int, WindowSize] | None:
        """Return the change after the `seen` first ones (or the oldest kept one), None when there is none."""
        if seen >= self.count:
            return None
        return self._kept[max(0, len(self._kept) - (self.count - seen))]


class Attachment:
    """A client on a session. `ended` is called with a reason when it has to go."""

    def __init__(
        self,
        attachment_id: str,
        client_id: str,
        *,
        mode: Mode,
        size: WindowSize,
        pid: int | None,
        attached_at_ms: int,
        ended: Callable[[str, str], None],
    ) -> None:
        self.attachment_id = attachment_id
        self.client_id = client_id
        self.mode = mode
        self.size = size
        self.pid = pid
        self.attached_at_ms = attached_at_ms
        self.ended = ended
        self.activity = 0
        self.sent_offset = 0
        self.acked_offset = 0
        # Until the client has shown that it is past the history, replies to queries in it are not let through.
        self.replies_from = 0
        self.rendered = False
        # Whether it has said anything yet: see `Session.heard_from`.
        self.heard = False


class Attachments:
    """All attachments of one session, and the size that follows from them."""

    def __init__(self, policy: SizePolicy, size: WindowSize) -> None:
        self.policy = policy
        self.size = size
        self._by_id: dict[str, Attachment] = {}
        # Ahead of every attachment's activity, so that the first one counts.
        self._clock = 1

    def __iter__(self) -> Iterator[Attachment]:
        return iter(tuple(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, attachment_id: str) -> Attachment | None:
        """Return the attachment with this id, if it is there."""
        return self._by_id.get(attachment_id)

    def add(self, attachment: Attachment) -> None:
        """Put a client on the session."""
        self._by_id[attachment.attachment_id] = attachment
        self.touch(attachment)

    def remove(self, attachment: Attachment) -> None:
        """Take a client off; idempotent."""
        self._by_id.pop(attachment.attachment_id, None)

    def touch(self, attachment: Attachment) -> bool:
        """Note that a client did something; return whether it thereby became the latest."""
        if attachment.activity == self._clock:
            return False  # nobody else did anything since
        was = self.latest()
        self._clock += 1
        attachment.activity = self._clock
        return was is not attachment

    def latest(self) -> Attachment | None:
        """Return the writer that was last active: its terminal, and no other, may answer queries."""
        return max(self._deciding(), key=lambda one: one.activity, default=None)

    def wanted_size(self) -> WindowSize:
        """Return the size the policy asks for; the current one when nobody decides."""
        deciding = self._deciding()
        if not deciding or self.policy == "manual":
            return self.size
        if self.policy == "latest":
            return max(deciding, key=lambda one: one.activity).size
        pick = min if self.policy == "smallest" else max
        return WindowSize(pick(one.size.rows for one in deciding), pick(one.size.cols for one in deciding))

    def _deciding(self) -> list[Attachment]:
        return [one for one in self._by_id.values() if one.mode == "writer"]
