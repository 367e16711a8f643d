"""How a client of the SDK behaves: how long it waits, what it repeats, how it notices that nobody is there any more."""

import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ptybridge.errors import ConfigInvalid
from ptybridge.mistakes import plain, told

PREFIX: Final = "PTYBRIDGE_SDK_"


class Keepalive(msgspec.Struct, frozen=True):
    """After `interval` seconds of silence the daemon is asked for a sign of life; it has `timeout` to give one."""

    interval: float
    timeout: float


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Times are seconds, None waits for ever. `PTYBRIDGE_SDK_CONNECT_TIMEOUT` and so on set what is not given.

    `request_timeout`: for the answer to a call, on top of the time the call itself takes as a parameter. Copying,
    moving, deleting and searching files may take as long as they need.
    `stream_timeout`: between two events of a stream.
    `keepalive_interval`, `keepalive_timeout`: see `Keepalive`; an interval of 0 asks never.
    `retry_attempts`: how often a call that only reads is made in all, when the failure is one that may pass. The first
    pause is `retry_initial`, each next one `retry_multiplier` times as long, up to `retry_max`; `retry_jitter` is
    the part of a pause that is left to chance.
    `reconnect_timeout`: how long a daemon that was there before may be away, while it is restarted.
    """

    connect_timeout: float = 10.0
    request_timeout: float | None = 30.0
    stream_timeout: float | None = None
    keepalive_interval: float = 25.0
    keepalive_timeout: float = 20.0
    retry_attempts: int = 3
    retry_initial: float = 0.1
    retry_max: float = 5.0
    retry_multiplier: float = 2.0
    retry_jitter: float = 0.1
    reconnect_timeout: float = 10.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ConfigInvalid(f"{name} is {value}, and must not be negative")
        if self.retry_attempts < 1:
            raise ConfigInvalid("retry_attempts is 0, but a call has to be made once", hint="1 repeats nothing")

    @property
    def keepalive(self) -> Keepalive | None:
        """What connections get."""
        return Keepalive(self.keepalive_interval, self.keepalive_timeout) if self.keepalive_interval else None

    @classmethod
    def load(cls, env: Mapping[str, str] = os.environ, **given: Any) -> "Settings":
        """Make settings of what is given, then of the environment. Raises `ConfigInvalid`."""
        unknown = sorted(set(given) - set(cls.__struct_fields__))
        if unknown:
            raise ConfigInvalid(f"there is no setting {unknown[0]!r}", hint=", ".join(cls.__struct_fields__))
        values: dict[str, Any] = {}
        for field in msgspec.structs.fields(cls):
            text = env.get(PREFIX + field.name.upper(), "")
            if text:
                try:
                    never = text == "none"
                    values[field.name] = msgspec.convert(None if never else text, field.type, strict=False)
                except msgspec.ValidationError as exc:
                    raise ConfigInvalid(f"{PREFIX}{field.name.upper()} is {text!r}: {plain(exc)}") from exc
        try:
            return msgspec.convert({**values, **given}, cls)
        except msgspec.ValidationError as exc:
            raise ConfigInvalid(told(exc, noun="setting")) from exc
