"""The build of the browser pages: when it needs node, when it does nothing, what it makes, what it says."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

WEB = Path(__file__).parents[2] / "src/ptybridge/web"


def load(hook: Path) -> ModuleType:
    """The build hook of some tree; it is no part of the package, so no import finds it."""
    spec = importlib.util.spec_from_file_location("hatch_build", hook)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hook(tmp_path: Path) -> ModuleType:
    """The hook of a copy of the sources, with the pages built from them."""
    web = tmp_path / "web"
    shutil.copytree(WEB / "frontend", web / "frontend", ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    shutil.copytree(WEB / "static", web / "static")
    return load(web / "frontend/hatch_build.py")


def test_built_pages_need_neither_node_nor_another_build(hook: ModuleType, tmp_path: Path) -> None:
    made = hook.PagesHook(str(tmp_path), {}, None, None, "", "wheel")
    before = (tmp_path / "web/static/manifest.json").stat()
    assert made.dependencies() == []
    made.initialize("standard", {})
    assert (tmp_path / "web/static/manifest.json").stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize(
    "change",
    [
        lambda web: (web / "frontend/src/common/base.css").write_text("body {}"),
        lambda web: (web / "frontend/src/new.ts").write_text(""),
        lambda web: (web / "frontend/pages/login.html").unlink(),
        lambda web: (web / "static/manifest.json").write_text("{"),
        lambda web: shutil.rmtree(web / "static"),
    ],
    ids=["edited", "added", "removed", "broken-manifest", "never-built"],
)
def test_changed_sources_ask_for_node(hook: ModuleType, tmp_path: Path, change: object) -> None:
    assert callable(change)
    change(tmp_path / "web")
    assert hook.PagesHook(str(tmp_path), {}, None, None, "", "wheel").dependencies() == [hook.NODE]


def test_what_is_installed_for_the_build_is_no_source(hook: ModuleType, tmp_path: Path) -> None:
    installed = tmp_path / "web/frontend/node_modules/a"
    installed.mkdir(parents=True)
    (installed / "index.js").write_text("")
    assert hook.are_built()


def test_build_without_network_says_what_to_do_and_keeps_the_old_pages(hook: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "web/frontend/src/new.ts").write_text("")
    # A port nobody listens on, and a cache with nothing in it.
    offline = {
        "npm_config_registry": "http://127.0.0.1:9/",
        "npm_config_cache": str(tmp_path / "cache"),
        "npm_config_fetch_retries": "0",
    }
    result = subprocess.run(
        [sys.executable, "web/frontend/hatch_build.py"],
        cwd=tmp_path,
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 1
    assert "`npm-cli.js ci` failed" in result.stderr
    assert "Without network, install a wheel or a source package" in result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "web/static/manifest.json").is_file()


def test_pages_name_only_files_that_were_built_and_hold_no_inline_code() -> None:
    static = WEB / "static"
    manifest = json.loads((static / "manifest.json").read_text())
    assert manifest["pages"]
    for page in manifest["pages"]:
        html = (static / page).read_text()
        named = re.findall(r'static/([^"]+)"', html)
        assert named, page
        assert all((static / name).is_file() for name in named), page
        # Nothing that a strict content security policy would have to allow, and nothing of anybody else's.
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)|https?://", html), page


def test_scripts_and_styles_are_named_by_their_content_and_come_compressed() -> None:
    static = WEB / "static"
    manifest = json.loads((static / "manifest.json").read_text())
    for name in manifest["files"].values():
        if name.endswith((".js", ".css")):
            assert re.fullmatch(r"[a-z]+-[A-Z0-9]{8}\.(js|css)", name)


def test_nothing_of_the_scripts_comes_from_elsewhere() -> None:
    for script in (WEB / "static").glob("*.js"):
        assert not re.search(r"(import|fetch|src)[^\n]{0,20}https?://", script.read_text()), script.name


def test_lock_file_names_no_place_and_every_checksum() -> None:
    lock = json.loads((WEB / "frontend/package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    assert all("resolved" not in entry and entry["integrity"].startswith("sha512-") for entry in packages.values())


def test_direct_dependencies_are_exact_versions() -> None:
    package = json.loads((WEB / "frontend/package.json").read_text())
    versions = [*package["dependencies"].values(), *package["devDependencies"].values()]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)


def test_licenses_of_what_is_bundled_come_along() -> None:
    assert (WEB / "static/licenses.txt").is_file()
