"""What clients call sessions: labels, and names, which are unique per owner among the sessions that run."""

from collections.abc import Callable

import msgspec

from ptybridge.core.text import validate_label
from ptybridge.errors import NameTaken
from ptybridge.model import Access


class Labels(msgspec.Struct, kw_only=True):
    """What clients call a session and may change; `profile`, the kind of client that made it, and `shared` stay."""

    name: str | None = None
    owner: str | None = None
    tags: list[str] = []
    access: Access = "admin"
    profile: str | None = None
    workspace: str | None = None
    shared: bool = False


def check_labels(labels: Labels) -> None:
    """Raise `InvalidParams` for a label nobody could type or read."""
    for what, value in (
        ("name", labels.name),
        ("owner", labels.owner),
        ("workspace", labels.workspace),
        *(("tag", tag) for tag in labels.tags),
    ):
        if value is not None:
            validate_label(value, what)


class Names:
    """Who has which name. `runs` tells of an id whether that session runs; None while it is being started."""

    def __init__(self, runs: Callable[[str], bool | None]) -> None:
        self._runs = runs
        self._holders: dict[tuple[str | None, str], str] = {}

    def claim(self, labels: Labels, session_id: str) -> None:
        """Give a session its name. Raises `NameTaken`."""
        if labels.name is None:
            return
        key = (labels.owner, labels.name)
        holder = self._holders.get(key)
        if holder == session_id:
            return
        if holder is not None and self._runs(holder) is not False:
            raise NameTaken(
                f"the name {labels.name!r} belongs to running session {holder}",
                hint="choose another name, or close that session",
            )
        self._holders[key] = session_id

    def restore(self, labels: Labels, session_id: str) -> None:
        """Give a running session the name it had with the daemon before."""
        if labels.name is not None:
            self._holders[labels.owner, labels.name] = session_id

    def release(self, labels: Labels, session_id: str) -> None:
        """Make a session's name free, if it is still its own."""
        if labels.name is not None and self._holders.get((labels.owner, labels.name)) == session_id:
            del self._holders[labels.owner, labels.name]
