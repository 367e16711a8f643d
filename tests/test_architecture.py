"""The layers of docs/architecture.md and the rules of docs/conventions.md that a program can check.

How it works: `Tree` parses every module under a source root, and each rule is a function from a tree to a list of
violations in plain words. The rules run over `src/ptybridge`, and over small made-up trees that break them, so that
a rule which no longer bites is noticed.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "ptybridge"

# Higher imports lower, never the other way round.
LAYERS = {
    "testing": 7,
    "__main__": 7,
    "cli": 6,
    "daemon": 5,
    **dict.fromkeys(("rpc", "web", "mcp", "relay", "agent"), 4),
    **dict.fromkeys(("service", "backends", "store"), 3),
    **dict.fromkeys(("core", "plugins", "sdk", "logs"), 2),
    **dict.fromkeys(("api", "wire"), 1),
    **dict.fromkeys(("errors", "model", "config", "text", "mistakes"), 0),
}
FRONT_ENDS = {"cli", "rpc", "web", "mcp", "relay", "agent"}
# Front ends translate operations; what is behind them is reached through an endpoint.
HIDDEN_FROM_FRONT_ENDS = {"core", "service", "backends", "store", "keeper"}
HIDDEN_FROM_CORE = {"api", "wire"}
# The keeper stands apart: who may import it, and which of its modules (None: all).
KEEPER_USERS: dict[str, set[str] | None] = {
    "core": {"keeper.ring"},
    "backends": {"keeper.ring", "keeper.segments", "keeper.pump", "keeper.protocol", "keeper.runtime", "keeper.spawn"},
    "daemon": None,
    "testing": None,
}
KEEPER_LIBRARIES = {"ptyprocess"}
# Layers 0 and 1 are values and functions: whatever waits, or talks to the system, is elsewhere.
IMPURE = {"trio", "socket", "select", "selectors", "asyncio", "subprocess", "threading", "multiprocessing", "pty"}
WEB_ONLY = {"quart", "quart_trio", "hypercorn"}
# Importing these takes longer than everything else `ptybridge ls` does.
TOO_SLOW_FOR_THE_CLI = {"trio", "anyio", "quart", "quart_trio", "hypercorn", "pyghostty", "mcp", "rich"}

MOST_LINES = 500
# As long as the contract; what makes them is short, and tests/sdk/test_client.py compares.
MADE = {"sdk/aio/methods.py", "sdk/sync/methods.py"}
BUNDLE_NAMES = re.compile(r"(^|/)(vendor|_vendor|third_party|node_modules|static)/|\.min\.(js|css)$|\.map$")
BUNDLE_TYPES = {".whl", ".so", ".a", ".o", ".jar", ".zip", ".gz", ".xz", ".wasm", ".exe", ".dll", ".dylib"}
SOURCE_TYPES = {".py", ".js", ".mjs", ".ts", ".css", ".html"}
# Made where it is needed and ignored by git: what is installed for a build, and what a build makes.
NOT_COMMITTED = re.compile(r"(^|/)(node_modules|__pycache__)/|^src/ptybridge/web/static/")
# No line a person wrote is this long; a bundler's are.
LONGEST_LINE = 2000


class Module:
    """One parsed source file. `name` is relative to the package: "core.session"; the package's own is ""."""

    def __init__(self, root: Path, path: Path) -> None:
        self.path = path.relative_to(root).as_posix()
        parts = path.relative_to(root).with_suffix("").parts
        self.name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        self.text = path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def unit(self) -> str:
        """What the layer table calls it: the first part of the name."""
        return self.name.partition(".")[0]

    @cached_property
    def imports(self) -> list[tuple[int, str]]:
        """Every import as (line, dotted name), also those inside functions and for type checking only."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path}:{node.lineno} imports relatively"
                module = node.module or ""
                # `from ptybridge.api import session` names a module, `from ptybridge.errors import NotFound` does not;
                # for layers both readings give the same answer, except directly below the package.
                if module in (PACKAGE, f"{PACKAGE}.keeper"):
                    found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
                else:
                    found.append((node.lineno, module))
        return found

    @property
    def own_imports(self) -> list[tuple[int, str]]:
        """Imports of the package's own modules, relative to it; `ptybridge.__version__` belongs to nobody."""
        names = [(line, name.removeprefix(f"{PACKAGE}.")) for line, name in self.imports if is_in(name, PACKAGE)]
        return [(line, name) for line, name in names if name not in (PACKAGE, "__version__")]

    @property
    def foreign_imports(self) -> list[tuple[int, str]]:
        """Top-level names of everything imported that is not the package's own."""
        return [(line, name.partition(".")[0]) for line, name in self.imports if not is_in(name, PACKAGE)]


def is_in(name: str, package: str) -> bool:
    """Tell whether a dotted name is a package or lies inside it."""
    return name == package or name.startswith(f"{package}.")


class Tree:
    """All modules of a package, given the directory it lies in."""

    def __init__(self, root: Path) -> None:
        self.modules = [Module(root, path) for path in sorted(root.rglob("*.py"))]


# -- rules --------------------------------------------------------------------------------------------------


def layer_violations(tree: Tree) -> Iterator[str]:
    """Imports that go up, sideways, or past an endpoint; modules that stand in no layer."""
    for module in tree.modules:
        if module.unit in ("", "keeper"):
            continue
        if module.unit not in LAYERS:
            yield f"{module.path}: {module.unit} is not in the table of layers"
            continue
        for line, name in module.own_imports:
            target = name.partition(".")[0]
            if problem := forbidden(module.unit, target, name):
                yield f"{module.path}:{line}: {module.unit} imports {name}: {problem}"


def forbidden(unit: str, target: str, name: str) -> str | None:
    """Say why `unit` may not import `name`, which lies in `target`; None when it may."""
    if unit == target:
        return None
    if unit in FRONT_ENDS and target in HIDDEN_FROM_FRONT_ENDS:
        return "front ends see operations only"
    if target == "keeper":
        allowed = KEEPER_USERS.get(unit, set())
        return None if allowed is None or name in allowed else "the keeper stands apart"
    if target not in LAYERS:
        return f"{target} is not in the table of layers"
    if unit == "core" and target in HIDDEN_FROM_CORE:
        return "core knows neither the contract nor the wire"
    if LAYERS[target] > LAYERS[unit]:
        return "imports go downward"
    # Layer 0 is one family (models use errors); elsewhere siblings are independent.
    if LAYERS[target] == LAYERS[unit] and LAYERS[unit] != 0:
        return "siblings are independent"
    return None


def keeper_violations(tree: Tree) -> Iterator[str]:
    """Imports of the keeper beyond the standard library, ptyprocess and itself."""
    allowed = sys.stdlib_module_names | KEEPER_LIBRARIES
    for module in tree.modules:
        if module.unit != "keeper":
            continue
        for line, name in module.own_imports:
            if not is_in(name, "keeper"):
                yield f"{module.path}:{line}: the keeper imports {PACKAGE}.{name}"
        for line, name in module.foreign_imports:
            if name not in allowed:
                yield f"{module.path}:{line}: the keeper imports {name}"


def purity_violations(tree: Tree) -> Iterator[str]:
    """Layers 0 and 1 that wait or talk to the system; web libraries outside `web`."""
    for module in tree.modules:
        for line, name in module.foreign_imports:
            if name in IMPURE and LAYERS.get(module.unit, 9) <= 1:
                yield f"{module.path}:{line}: {module.unit} is pure and imports {name}"
            if name in WEB_ONLY and module.unit != "web":
                yield f"{module.path}:{line}: {name} outside web"


def broad_handlers(tree: Tree) -> Iterator[tuple[str, str, int]]:
    """Every place that swallows `Exception`, as (path, qualified name, line); `BaseException` with re-raise is none."""
    for module in tree.modules:
        for scope, node in with_scopes(module.tree, ()):
            if is_broad(node):
                yield module.path, ".".join(scope) or "<module>", getattr(node, "lineno", 0)


def with_scopes(node: ast.AST, scope: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], ast.AST]]:
    """Walk a tree, and tell for each node the classes and functions around it."""
    for child in ast.iter_child_nodes(node):
        inner = scope
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = (*scope, child.name)
        yield inner, child
        yield from with_scopes(child, inner)


def is_broad(node: ast.AST) -> bool:
    if isinstance(node, ast.ExceptHandler):
        caught = names_in(node.type)
        if not caught or "BaseException" in caught:
            return not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
        return "Exception" in caught
    if isinstance(node, ast.Call) and names_in(node.func) & {"suppress"}:
        return any(names_in(argument) & {"Exception", "BaseException"} for argument in node.args)
    return False


def names_in(node: ast.expr | None) -> set[str]:
    """The last parts of the names in `A`, `a.B` or `(A, a.B)`."""
    if isinstance(node, ast.Tuple):
        return set().union(*(names_in(element) for element in node.elts))
    if isinstance(node, ast.Name):
        return {node.id}
    if isinstance(node, ast.Attribute):
        return {node.attr}
    return set()


def documented_handlers(architecture: str) -> set[tuple[str, str]]:
    """The list in docs/architecture.md: lines of the form "- `core/sessions.py` `Sessions.run`: why"."""
    return set(re.findall(r"^- `([\w/]+\.py)` `([\w.<>]+)`: \S", architecture, re.MULTILINE))


def handler_violations(tree: Tree, architecture: str) -> Iterator[str]:
    """Broad handlers the document does not name, and names in the document that are no longer true."""
    allowed = documented_handlers(architecture)
    found = set()
    for path, scope, line in broad_handlers(tree):
        # The document speaks of paths inside the package.
        place = (path.removeprefix(f"{PACKAGE}/"), scope)
        found.add(place)
        if place not in allowed:
            yield f"{path}:{line}: `except Exception` in {scope}, which docs/architecture.md does not name"
    for path, scope in sorted(allowed - found):
        yield f"docs/architecture.md names {path} {scope}, where nothing broad is caught"


def size_violations(tree: Tree) -> Iterator[str]:
    """Modules that are too long, and drawers for odds and ends."""
    for module in tree.modules:
        lines = module.text.count("\n")
        if lines > MOST_LINES and module.path not in MADE:
            yield f"{module.path}: {lines} lines; split it by responsibility"
        if Path(module.path).name in ("utils.py", "util.py", "helpers.py", "misc.py", "common.py"):
            yield f"{module.path}: name the file for what it is responsible for"


def page_size_violations(root: Path) -> Iterator[str]:
    """Sources of the browser pages that are too long."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.suffix in SOURCE_TYPES and not NOT_COMMITTED.search(name):
            lines = path.read_text().count("\n")
            if lines > MOST_LINES:
                yield f"{name}: {lines} lines; split it by responsibility"


def bundle_violations(root: Path, paths: list[str]) -> Iterator[str]:
    """Third-party code or build products among the files of the repository."""
    for name in paths:
        path = root / name
        if BUNDLE_NAMES.search(name) or path.suffix in BUNDLE_TYPES:
            yield f"{name}: not ours, or built"
        elif path.suffix in SOURCE_TYPES and any(len(line) > LONGEST_LINE for line in path.read_text().splitlines()):
            yield f"{name}: a line of more than {LONGEST_LINE} characters looks bundled"


def repository_files() -> list[str]:
    """What is, or is about to be, in the repository; in an unpacked source package, everything but dot directories."""
    git = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if git.returncode == 0:
        return [name for name in git.stdout.splitlines() if (ROOT / name).is_file()]
    parts = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    names = [part.as_posix() for part in parts if not part.parts[0].startswith(".")]
    # A source package holds the built pages, so that installing from it needs no node.
    return [name for name in names if not NOT_COMMITTED.search(name)]


# -- the repository keeps them ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source() -> Tree:
    return Tree(ROOT / "src" / PACKAGE)


@pytest.mark.parametrize(
    "rule", [layer_violations, keeper_violations, purity_violations, size_violations], ids=lambda rule: rule.__name__
)
def test_source_keeps_the_rule(source: Tree, rule: Callable[[Tree], Iterator[str]]) -> None:
    assert list(rule(source)) == []


def test_every_broad_handler_is_named_in_the_architecture(source: Tree) -> None:
    assert list(handler_violations(source, (ROOT / "docs/architecture.md").read_text())) == []


def test_tests_keep_to_the_size() -> None:
    assert list(size_violations(Tree(ROOT / "tests"))) == []


def test_pages_keep_to_the_size() -> None:
    assert list(page_size_violations(ROOT / "src" / PACKAGE / "web/frontend")) == []


def test_nothing_third_party_is_committed() -> None:
    assert list(bundle_violations(ROOT, repository_files())) == []


def loaded_by(program: str) -> set[str]:
    program = f"import sys; {program}; print(*sys.modules, sep='\\n')"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


def test_cli_starts_without_the_heavy_libraries() -> None:
    assert loaded_by("import ptybridge.cli.main") & TOO_SLOW_FOR_THE_CLI == set()


def test_the_package_is_light_and_so_is_the_blocking_client() -> None:
    assert "msgspec" not in loaded_by("import ptybridge")
    assert loaded_by("from ptybridge import Client") & (TOO_SLOW_FOR_THE_CLI | {"asyncio"}) == set()


# -- and the rules bite -------------------------------------------------------------------------------------


def tree_of(root: Path, files: dict[str, str]) -> Tree:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(root)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("core/session.py", "from ptybridge.service import session"),
        ("core/session.py", "from ptybridge.api.session import Create"),
        ("core/session.py", "import ptybridge.wire.keys"),
        ("core/session.py", "from ptybridge.keeper.pump import Pump"),
        ("core/session.py", "from ptybridge.keeper import pump"),
        ("core/session.py", "def late():\n    from ptybridge import daemon"),
        ("api/session.py", "from ptybridge.wire import keys"),
        ("service/session.py", "from ptybridge.backends.pty import PtyChild"),
        ("rpc.py", "from ptybridge.core.session import Session"),
        ("rpc.py", "from ptybridge.web import app"),
        ("cli/ls.py", "from ptybridge.service.session import SessionService"),
        ("web/app.py", "from ptybridge.keeper.ring import Ring"),
        ("errors.py", "from ptybridge.api import session"),
        ("odds.py", ""),
        ("core/session.py", "from ptybridge import odds"),
    ],
)
def test_layer_rule_bites(tmp_path: Path, path: str, text: str) -> None:
    assert len(list(layer_violations(tree_of(tmp_path / "made-up", {path: text})))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "core/session.py",
            "import trio\nfrom ptybridge.errors import NotFound\nfrom ptybridge.keeper.ring import Ring",
        ),
        ("core/session.py", "from ptybridge.core.child import Child\nfrom ptybridge import model, __version__"),
        ("model.py", "from ptybridge.errors import snake_case"),
        ("cli/serve.py", "from ptybridge import daemon\nfrom ptybridge.sdk.sync import Client"),
        ("daemon.py", "from ptybridge.core.sessions import Sessions\nfrom ptybridge import rpc"),
        ("__main__.py", "from ptybridge.cli.main import main"),
    ],
)
def test_layer_rule_lets_the_right_ones_pass(tmp_path: Path, path: str, text: str) -> None:
    assert list(layer_violations(tree_of(tmp_path / "made-up", {path: text}))) == []


@pytest.mark.parametrize(
    "text", ["import msgspec", "from ptybridge.model import Value", "from ptybridge import errors"]
)
def test_keeper_rule_bites(tmp_path: Path, text: str) -> None:
    files = {"keeper/ring.py": f"import os, ptyprocess\nfrom ptybridge.keeper.memory import unmap\n{text}"}
    assert len(list(keeper_violations(tree_of(tmp_path / "made-up", files)))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("wire/jsonrpc.py", "import trio"),
        ("errors.py", "import socket"),
        ("rpc.py", "from hypercorn.trio import serve"),
        ("mcp/http.py", "import quart_trio"),
    ],
)
def test_purity_rule_bites(tmp_path: Path, path: str, text: str) -> None:
    assert len(list(purity_violations(tree_of(tmp_path / "made-up", {path: text})))) == 1


def test_web_may_import_its_libraries(tmp_path: Path) -> None:
    files = {"web/server.py": "import trio, hypercorn.trio\nfrom quart_trio import QuartTrio"}
    assert list(purity_violations(tree_of(tmp_path / "made-up", files))) == []


@pytest.mark.parametrize(
    "handler",
    [
        "try: ...\n    except Exception: ...",
        "try: ...\n    except (OSError, Exception): ...",
        "try: ...\n    except* Exception: ...",
        "try: ...\n    except: ...",
        "try: ...\n    except BaseException as exc: log(exc)",
        "with contextlib.suppress(Exception): ...",
    ],
)
def test_handler_rule_bites(tmp_path: Path, handler: str) -> None:
    tree = tree_of(tmp_path / "made-up", {"core/a.py": f"class A:\n  async def run(self):\n    {handler}\n"})
    assert [(path, scope) for path, scope, _ in broad_handlers(tree)] == [("core/a.py", "A.run")]
    assert len(list(handler_violations(tree, "nothing is named here"))) == 1
    assert list(handler_violations(tree, "- `core/a.py` `A.run`: one task must not end its siblings")) == []


@pytest.mark.parametrize("handler", ["except BaseException:\n  close()\n  raise", "except OSError: ..."])
def test_handler_rule_lets_clean_up_pass(tmp_path: Path, handler: str) -> None:
    assert list(broad_handlers(tree_of(tmp_path / "made-up", {"core/a.py": f"try: ...\n{handler}\n"}))) == []


def test_handler_rule_notices_a_stale_document(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "made-up", {"core/a.py": ""})
    assert len(list(handler_violations(tree, "- `core/a.py` `A.run`: one task must not end its siblings"))) == 1


@pytest.mark.parametrize(("path", "text"), [("core/long.py", "\n" * 501), ("core/utils.py", "")])
def test_size_rule_bites(tmp_path: Path, path: str, text: str) -> None:
    assert len(list(size_violations(tree_of(tmp_path / "made-up", {path: text})))) == 1


def test_page_size_rule_bites_and_leaves_installed_packages_alone(tmp_path: Path) -> None:
    files = {"src/long.ts": "\n" * 501, "src/short.ts": "\n", "node_modules/a/long.ts": "\n" * 501}
    tree_of(tmp_path / "made-up", files)
    assert list(page_size_violations(tmp_path / "made-up")) == ["src/long.ts: 501 lines; split it by responsibility"]


@pytest.mark.parametrize(
    ("path", "text"),
    [("web/xterm.min.js", ""), ("web/vendor/a.py", ""), ("a.whl", ""), ("web/app.js", "x" * 2001), ("a.js.map", "")],
)
def test_bundle_rule_bites(tmp_path: Path, path: str, text: str) -> None:
    tree_of(tmp_path / "made-up", {path: text})
    assert len(list(bundle_violations(tmp_path / "made-up", [path]))) == 1
