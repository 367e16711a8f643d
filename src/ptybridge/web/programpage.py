"""Pages that programs draw, in a frame that can do nothing to ours: `/s/ID/app/PATH`, and the frame in it.

How it works: the page of ours at `app/` holds an iframe with a sandbox, whose document comes from `frame/`. That asks
the program. The document's own policy makes its origin opaque and lets it load nothing from anywhere; it may run
scripts of its own and say to our page, by a message, which link was followed.
"""

from typing import Any, Final

import msgspec
from quart import Response, request
from quart_trio import QuartTrio

from ptybridge.api.app import REQUEST
from ptybridge.errors import PtybridgeError
from ptybridge.web.context import Web, caller

# (CSP level 3; "sandbox" holds also when the document is opened by itself.)
_POLICY: Final = (
    "sandbox allow-scripts allow-forms; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; font-src data:; media-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
# Links and forms that lead to other paths of the program are followed by the page around, which has the login.
_SCRIPT: Final = """
const base = location.href.match(/^[^?#]*?\\/s\\/[^/]+\\/frame\\//)[0];
const go = (url) => parent.postMessage({ ptybridge: "go", path: url.slice(base.length) }, "*");
addEventListener("click", (event) => {
  const link = event.target instanceof Element && event.target.closest("a[href]");
  if (!link || event.defaultPrevented || !link.href.startsWith(base)) return;
  event.preventDefault();
  go(link.href);
});
addEventListener("submit", (event) => {
  const url = new URL(event.target.action);
  if (event.defaultPrevented || !url.href.startsWith(base)) return;
  event.preventDefault();
  url.search = new URLSearchParams(new FormData(event.target));
  go(url.href);
});
"""


def add_program_pages(app: QuartTrio, web: Web) -> None:
    """Give `app` the documents that programs draw."""

    @app.get("/s/<session_id>/frame/", defaults={"path": ""})
    @app.get("/s/<session_id>/frame/<path:path>")
    async def frame(session_id: str, path: str) -> Response:
        params = {"session_id": session_id, "path": path, "query": request.query_string.decode("latin-1")}
        try:
            raw = msgspec.Raw(msgspec.json.encode(params))
            page: Any = await web.endpoint.call(caller(), REQUEST.name, raw)
        except PtybridgeError as exc:
            return _document(f"<p>{_escaped(exc.message)}</p>", "", exc.http_status, None)
        return _document(page.body, page.head, page.status, page.refresh_ms)


def _document(body: str, head: str, status: int, refresh_ms: int | None) -> Response:
    again = ""
    if refresh_ms is not None:
        again = f'setTimeout(() => parent.postMessage({{ ptybridge: "again" }}, "*"), {refresh_ms});'
    text = (
        f'<!doctype html><html><head><meta charset="utf-8"><script>{_SCRIPT}{again}</script>{head}</head>'
        f"<body>{body}</body></html>"
    )
    response = Response(text.encode("utf-8", "replace"), status, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _POLICY
    return response


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
