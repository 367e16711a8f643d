"""The pages over TLS, with a certificate as `ptybridge cert` makes it: https, wss, and a cookie that only they get."""

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from tests.survival.harness import Node
from tests.web.browser.conftest import ARGUMENTS, LAUNCH_MS, NeedTool, Site

from ptybridge.web.certificates import Certificate, ensure


@pytest.fixture
def made(runtime_dir: Path) -> Certificate:
    return ensure(runtime_dir / "tls")


@pytest.fixture
def node(runtime_dir: Path, made: Certificate) -> Iterator[Node]:
    node = Node(runtime_dir)
    node.start(env={"PTYBRIDGE_WEB_PORT": "0", "PTYBRIDGE_WEB_TLS_CERT": made.cert, "PTYBRIDGE_WEB_TLS_KEY": made.key})
    yield node
    node.close()


@pytest.fixture
def chromium(need_tool: NeedTool, made: Certificate) -> Iterator[Browser]:
    """A Chromium that trusts this very authority, by the hash of its key, and no other unknown one."""
    key = x509.load_pem_x509_certificate(Path(made.authority).read_bytes()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    trust = f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}"
    path = need_tool("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, trust], timeout=LAUNCH_MS)
        yield browser
        browser.close()


def test_the_terminal_works_over_wss(site: Site, shell: str) -> None:
    tab = site.person(viewport={"width": 1100, "height": 700})
    assert tab.base.startswith("https://")
    sockets: list[str] = []
    tab.page.on("websocket", lambda one: sockets.append(one.url))
    tab.attach(shell)
    tab.wait_screen(r"^\$ ")
    tab.type("echo $((6 * 7))\n")
    tab.wait_screen("^42$")
    assert sockets
    assert all(url.startswith("wss://") for url in sockets)
    (login,) = tab.page.context.cookies()
    assert login["name"].startswith("__Host-")
    assert (login["secure"], login["httpOnly"], login["sameSite"]) == (True, True, "Strict")
    # All requests of the page share a connection.
    assert tab.page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"


def test_a_browser_that_was_not_told_to_trust_it_does_not(node: Node, need_tool: NeedTool) -> None:
    link = str(node.call("web.open")["url"])
    path = need_tool("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, timeout=LAUNCH_MS)
        with pytest.raises(PlaywrightError, match=re.escape("ERR_CERT_AUTHORITY_INVALID")):
            browser.new_page().goto(link, timeout=LAUNCH_MS)
        browser.close()
