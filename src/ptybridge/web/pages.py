"""The browser pages: a few shells of HTML that hold no data, and the scripts and styles they name.

They are built by `frontend/hatch_build.py`. Scripts and styles have names made from their content, so browsers keep
them for ever; the shells are asked for each time, and answered with 304 while they are the same.
"""

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import trio
from quart import Response, request
from quart_trio import QuartTrio

from ptybridge.errors import FileNotFound, Unavailable

STATIC: Final = Path(__file__).parent / "static"

# What a page may do: nothing but run our scripts and styles and talk to this server. (CSP level 3)
_POLICY: Final = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; frame-src {frames}; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
PAGES: Final = {
    "/": "dashboard.html", "/login": "login.html", "/public": "public.html", "/s/<session_id>": "terminal.html",
}  # fmt: skip
# What is at the start instead for who is only invited to the shared session.
INVITED: Final = "public.html"
LINES: Final = "line.html"
# Around what a program draws, at any depth below /s/ID/app/.
PROGRAM: Final = "app.html"
# xterm.js decodes sixel images in WebAssembly; this allows to compile that, not to evaluate JavaScript.
_SCRIPTS: Final = {"terminal.html": " 'wasm-unsafe-eval'"}

Shell = Callable[..., Awaitable[Response]]
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"


def add_pages(
    app: QuartTrio, static: Path = STATIC, invited: Callable[[], bool] = lambda: False, prefix: str = ""
) -> None:
    """Give `app` the routes of the pages and of what they load.

    `invited`: who asks is here for the shared session. `prefix`: what our paths begin with.
    """
    shells = {page: _shell(static, page) for page in (*PAGES.values(), LINES)}
    choices = {
        "/": lambda: INVITED if invited() else PAGES["/"],
        # `?view=line` is for programs that only read and write lines.
        "/s/<session_id>": lambda: LINES if request.args.get("view") == "line" else "terminal.html",
    }
    for rule, page in PAGES.items():
        shell = _chosen(shells, choices[rule]) if rule in choices else shells[page]
        app.add_url_rule(rule, f"page:{page}", shell)
    app.add_url_rule("/s/<session_id>/app/<path:path>", "page:app", _shell(static, PROGRAM, prefix))
    app.add_url_rule("/s/<session_id>/app/", "page:app/", _shell(static, PROGRAM, prefix))

    @app.get("/static/<name>")
    async def static_file(name: str) -> Response:
        kind = _TYPES.get(Path(name).suffix)
        # One component, so nothing outside can be meant; the shells have their own addresses.
        if kind is None or "/" in name or not (path := static / name).is_file():
            raise FileNotFound(f"there is no {name} here")
        return await _send(path, kind, _FOR_EVER if "-" in name else _ASK_AGAIN)


def _chosen(shells: dict[str, Shell], choose: Callable[[], str]) -> Shell:
    async def chosen(session_id: str = "") -> Response:
        return await shells[choose()]()

    return chosen


def _shell(static: Path, page: str, prefix: str | None = None) -> Shell:
    """Return what answers with a page. `prefix`: its paths are made absolute, for it may be at any depth."""
    policy = _POLICY.format(scripts=_SCRIPTS.get(page, ""), frames="'self'" if page == PROGRAM else "'none'")

    async def shell(session_id: str = "", path: str = "") -> Response:
        if not (static / page).is_file():
            raise Unavailable(
                "the browser pages are not built",
                hint="install the package again, or run `make pages` in its source tree",
            )
        response = await _send(static / page, "text/html; charset=utf-8", _ASK_AGAIN, prefix)
        response.headers["Content-Security-Policy"] = policy
        return response

    return shell


async def _send(path: Path, kind: str, caching: str, prefix: str | None = None) -> Response:
    """Answer with a file, in a compressed form that was built where the client takes it, or with 304."""
    coding, path = _smallest(path)
    content = await trio.Path(path).read_bytes()
    if prefix is not None:
        content = content.replace(b"../", f"{prefix}/".encode())
    etag = hashlib.sha256(content).hexdigest()[:32]
    response = Response(b"", 304) if etag in request.if_none_match else Response(content, content_type=kind)
    response.set_etag(etag)
    response.headers["Cache-Control"] = caching
    response.headers["Vary"] = "Accept-Encoding"
    if coding is not None and response.status_code == 200:
        response.headers["Content-Encoding"] = coding
    return response


def _smallest(path: Path) -> tuple[str | None, Path]:
    for coding, suffix in (("br", ".br"), ("gzip", ".gz")):
        packed = path.with_name(path.name + suffix)
        if request.accept_encodings[coding] > 0 and packed.is_file():
            return coding, packed
    return None, path
