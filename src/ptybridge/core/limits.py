"""What a session may do: how long it may run, how much it may read and print, and when it is forgotten."""

import msgspec

from ptybridge.model import Overflow


class Limits(msgspec.Struct, kw_only=True):
    """What a session may do, in seconds and bytes."""

    overflow: Overflow = "drain"
    idle_timeout: float | None = None
    max_runtime: float | None = None
    linger: float = 0.5
    input_rate: int | None = None
    output_rate: int | None = None
    keep: float | None = None
    unattended_timeout: float | None = None
    max_clients: int | None = None
