"""ptybridge turns programs and machines into sessions that people, scripts, browsers and AI agents share.

`Client` and `AsyncClient` are for programs that use it; what stands in `_LAZY` is imported when it is first used, so
that `import ptybridge` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptybridge.errors import PtybridgeError as PtybridgeError
    from ptybridge.sdk.aio.client import AsyncClient as AsyncClient
    from ptybridge.sdk.aio.session import AsyncSession as AsyncSession
    from ptybridge.sdk.aio.terminal import AsyncTerminal as AsyncTerminal
    from ptybridge.sdk.patterns import EXITED as EXITED
    from ptybridge.sdk.patterns import TIMEOUT as TIMEOUT
    from ptybridge.sdk.settings import Settings as Settings
    from ptybridge.sdk.shapes import SessionMode as SessionMode
    from ptybridge.sdk.shapes import SignalType as SignalType
    from ptybridge.sdk.sync.client import Client as Client
    from ptybridge.sdk.sync.session import Session as Session
    from ptybridge.sdk.sync.terminal import Terminal as Terminal

    AsyncCMDOPClient = AsyncClient
    CMDOPClient = Client

__version__ = "0.1.0"

_LAZY = {
    "AsyncCMDOPClient": ("ptybridge.sdk.aio.client", "AsyncClient"),
    "AsyncClient": ("ptybridge.sdk.aio.client", "AsyncClient"),
    "AsyncSession": ("ptybridge.sdk.aio.session", "AsyncSession"),
    "AsyncTerminal": ("ptybridge.sdk.aio.terminal", "AsyncTerminal"),
    "CMDOPClient": ("ptybridge.sdk.sync.client", "Client"),
    "Client": ("ptybridge.sdk.sync.client", "Client"),
    "EXITED": ("ptybridge.sdk.patterns", "EXITED"),
    "PtybridgeError": ("ptybridge.errors", "PtybridgeError"),
    "Session": ("ptybridge.sdk.sync.session", "Session"),
    "SessionMode": ("ptybridge.sdk.shapes", "SessionMode"),
    "Settings": ("ptybridge.sdk.settings", "Settings"),
    "SignalType": ("ptybridge.sdk.shapes", "SignalType"),
    "TIMEOUT": ("ptybridge.sdk.patterns", "TIMEOUT"),
    "Terminal": ("ptybridge.sdk.sync.terminal", "Terminal"),
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'ptybridge' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    found = getattr(import_module(module), attribute)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
