"""Plays a script with a session, and tells what was done and seen, without the secrets.

How it works: all secrets are fetched before anything is sent. What plays is written once, for both clients, in
`aio/player.py`. What is reported goes through `Veil`, which puts a secret's name where its value stands: a program may
well print what was typed.
"""

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ptybridge.errors import InvalidParams
from ptybridge.sdk.script import Script, Secret

if TYPE_CHECKING:
    from ptybridge.sdk.aio.session import AsyncSession
    from ptybridge.sdk.sync.session import Session

PART_CHARACTERS: Final = 3  # of a secret that nobody may see
COMMAND_SECONDS: Final = 120.0

Ask = Callable[[str], str]
Ended = Literal["done", "failed", "timeout", "exited"]


class Traced(msgspec.Struct):
    """A step that was taken. `seen`: what was printed up to and with what was waited for; `ms`: how long it took."""

    line: int
    did: str
    ms: int
    result: str = "ok"
    seen: str = ""


class Outcome(msgspec.Struct):
    """How a dialogue has ended: where, why, and what was done before."""

    reason: Ended
    session_id: str
    line: int
    message: str
    steps: list[Traced]


class Veil:
    """Puts the names of secrets where their values stand."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        # Longer ones first: one may be a part of another.
        self._values = sorted(((v, n) for n, v in secrets.items() if v), key=lambda one: -len(one[0]))

    def clean(self, text: str) -> str:
        """Return a text as it may be shown."""
        for value, name in self._values:
            text = text.replace(value, f"[secret {name}]")
            # What is shown is cut out of more, perhaps in the middle of a value.
            for size in range(len(value) - 1, PART_CHARACTERS - 1, -1):
                if text.startswith(value[-size:]):
                    text = f"[secret {name}]" + text[size:]
                if text.endswith(value[:size]):
                    text = text[:-size] + f"[secret {name}]"
        return text


def fetch_secrets(script: Script, environ: Mapping[str, str], ask: Ask | None = None) -> dict[str, str]:
    """Return the values of a script's secrets. Raises `InvalidParams`, which names the line and no value."""
    return {name: _fetch(script, name, one, environ, ask) for name, one in script.secrets.items()}


def child_environment(script: Script) -> dict[str, str | None]:
    """Return what to leave out of a program's environment: the variables that hold the script's secrets."""
    return {one.words[0]: None for one in script.secrets.values() if one.kind == "env"}


def play(
    session: "Session", script: Script, secrets: Mapping[str, str], told: Callable[[Traced], None] = lambda step: None
) -> Outcome:
    """Play a script; `told` gets each step when it is over. What the daemon refuses is raised as always."""
    from ptybridge.sdk.sync.player import Player

    return Player(session, script, secrets, told).play()


async def play_async(
    session: "AsyncSession",
    script: Script,
    secrets: Mapping[str, str],
    told: Callable[[Traced], None] = lambda step: None,
) -> Outcome:
    """Play a script with the asynchronous client's session, under asyncio or Trio."""
    from ptybridge.sdk.aio.player import AsyncPlayer

    return await AsyncPlayer(session, script, secrets, told).play()


def _fetch(script: Script, name: str, secret: Secret, environ: Mapping[str, str], ask: Ask | None) -> str:
    def wrong(message: str) -> InvalidParams:
        return InvalidParams(f"{script.name}:{secret.line}: the secret {name}: {message}")

    word = secret.words[0]
    if secret.kind == "env":
        if word not in environ:
            raise wrong(f"the variable {word} is not set")
        value = environ[word]
    elif secret.kind == "file":
        try:
            value = Path(os.path.expanduser(word)).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise wrong(f"{word} cannot be read: {_reason(exc)}") from exc
        value = value.removesuffix("\n")
    elif secret.kind == "command":
        value = _printed(secret.words, wrong)
    else:
        if ask is None:
            raise wrong("a human is to be asked, and there is no terminal")
        value = ask(word)
    if not value or any(character in value for character in "\r\n\0"):
        raise wrong("it is empty, or has more than one line")
    return value


def _printed(words: tuple[str, ...], wrong: Callable[[str], InvalidParams]) -> str:
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, timeout=COMMAND_SECONDS, check=True, text=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as exc:
        # Without what it has printed, which may be the secret.
        raise wrong(f"{words[0]} did not tell it: {_reason(exc)}") from None
    return done.stdout.removesuffix("\n")


def _reason(exc: Any) -> str:
    if isinstance(exc, OSError):
        return exc.strerror or "it failed"
    if isinstance(exc, subprocess.CalledProcessError):
        return f"it ended with {exc.returncode}"
    return "it took too long" if isinstance(exc, subprocess.TimeoutExpired) else "it is no UTF-8 text"
