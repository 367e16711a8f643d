"""The configuration: sources in their order, where a value came from, and mistakes that name their place."""

from pathlib import Path

import pytest

from ptybridge.config import KEYS, TABLES, VARIABLES, Config, Daemon, PolicyRule, line_of, load, value_of
from ptybridge.errors import ConfigInvalid


@pytest.fixture
def env(runtime_dir: Path) -> dict[str, str]:
    # Not tmp_path: the socket may lie below it, and its path must be short.
    return {"HOME": str(runtime_dir), "XDG_RUNTIME_DIR": "/run/user/1000"}


RULE = "[[policy.rule]]\nverdict = 'deny'\n"


def write(env: dict[str, str], text: str) -> str:
    path = Path(env["HOME"], ".config/ptybridge/config.toml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_without_anything_the_defaults_hold(env: dict[str, str]) -> None:
    loaded = load(env)
    assert loaded.config.daemon == Daemon()
    assert loaded.config.paths.socket == "/run/user/1000/ptybridge/daemon.sock"
    assert loaded.config.paths.state_dir == f"{env['HOME']}/.local/state/ptybridge"
    assert loaded.origins["paths.socket"] == "environment XDG_RUNTIME_DIR"
    assert loaded.origins["daemon.autostart"] == "default"
    assert loaded.warnings == []


def test_without_a_runtime_directory_the_socket_lies_in_the_state_directory(env: dict[str, str]) -> None:
    del env["XDG_RUNTIME_DIR"]
    paths = load(env).config.paths
    assert paths.socket == f"{env['HOME']}/.local/state/ptybridge/daemon.sock"
    assert paths.runtime_dir == paths.state_dir


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"])
def test_relative_xdg_directories_are_ignored(env: dict[str, str], variable: str) -> None:
    env[variable] = "relative/place"
    loaded = load(env)
    assert "relative/place" not in loaded.config.paths.socket + loaded.config.paths.state_dir + loaded.file


def test_each_source_is_stronger_than_the_one_before(env: dict[str, str]) -> None:
    path = write(env, "[session]\ncols = 90\nrows = 40\nlinger_ms = 1\n")
    env |= {"PTYBRIDGE_SESSION_ROWS": "50", "PTYBRIDGE_SESSION_LINGER_MS": "2"}
    loaded = load(env, {"session.linger_ms": 3, "session.shell": None})
    session = loaded.config.session
    assert (session.cols, session.rows, session.linger_ms, session.shell) == (90, 50, 3, None)
    assert loaded.origins["session.cols"] == f"{path}:2"
    assert loaded.origins["session.rows"] == "environment PTYBRIDGE_SESSION_ROWS"
    assert loaded.origins["session.linger_ms"] == "flag"


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("true", True), ("0", False), ("false", False)])
def test_a_variable_may_spell_a_switch(env: dict[str, str], text: str, expected: bool) -> None:
    env["PTYBRIDGE_DAEMON_AUTOSTART"] = text
    assert load(env).config.daemon.autostart is expected


def test_an_empty_variable_counts_as_unset(env: dict[str, str]) -> None:
    env["PTYBRIDGE_SOCKET"] = ""
    assert load(env).origins["paths.socket"] == "environment XDG_RUNTIME_DIR"


def test_every_setting_has_a_variable_of_its_own() -> None:
    assert set(VARIABLES.values()) == set(KEYS) - set(TABLES)
    for key in KEYS:
        value_of(Config(), key)


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("[daemon]\n\nmax_sesions = 3\n", 3, "did you mean max_sessions?"),
        ("[demon]\nautostart = true\n", 1, "did you mean daemon?"),
        ("# mine\nautostart = true\n", 2, "it belongs under [daemon]"),
        ("daemon = 3\n", 1, "write [daemon]"),
        ("[session]\ncols = 0\n", 2, "session.cols: must be at least 1"),
        ('[session]\n"cols" = "80"\n', 2, "must be a whole number, not text"),
        ("[daemon]\nlog_level = 'loud'\n", 2, "there is no such choice: 'loud'"),
        ("[attach]\nprefix = 'F1'\n", 2, "attach.prefix"),
        ("[paths]\nsocket = 'here.sock'\n", 2, "must be an absolute path"),
        ("session.rows = -1\n", 1, "session.rows"),
        ("[session]\nrows = \n", 2, "nvalid value"),
        ("[session]\nrows = 3\nrows = 4\n", 3, "verwrite"),
        ("[policy]\nconfirm = 'nobody'\n", 2, "policy.confirm: there is no such choice: 'nobody'"),
        ("[policy.rule]\nverdict = 'ask'\n", 1, "write [[policy.rule]]"),
        ("[policy]\n\nrule = [1]\n", 3, "write [[policy.rule]]"),
        (f"{RULE}[[policy.rule]]\n\nverdict = 'ask'\nprofil = 'mcp'\n", 6, "did you mean profile?"),
        (f"{RULE}[[policy.rule]]\n\nverdict = 'maybe'\n", 5, "policy.rule.verdict: there is no such choice: 'maybe'"),
        (f"{RULE}\n[[policy.rule]]\ndangerous = true\n", 4, "the setting 'verdict' is missing"),
        (
            f"{RULE}[[ policy . rule ]]\nverdict = 'ask'\n'dangerous' = 1\n",
            5,
            "policy.rule.dangerous: must be true or false",
        ),
        (f"{RULE}[[policy.rule]]\nverdict = 'ask'\ncommand = 'a(b'\n", 5, "not a regular expression: missing ): a(b"),
        (f"{RULE}[[policy.rule]]\nverdict = 'ask'\ncommand = '(?=x)'\n", 5, "not a regular expression"),
        (f"{RULE}[[policy.rule]]\nverdict = 'ask'\noperation = 'a b'\n", 5, "policy.rule.operation"),
        ("[policy]\nrule = [{verdict = 'ask', command = '('}]\n", 2, "not a regular expression"),
    ],
)
def test_a_mistake_in_the_file_names_its_line(env: dict[str, str], text: str, line: int, part: str) -> None:
    path = write(env, text)
    with pytest.raises(ConfigInvalid) as caught:
        load(env)
    assert caught.value.message.startswith(f"{path}:{line}: ")
    assert part in caught.value.message


def test_rules_keep_their_order_and_each_has_a_place(env: dict[str, str]) -> None:
    path = write(env, f"{RULE}command = 'dd'\n\n[policy]\nconfirm = 'human'\n\n[[policy.rule]]\nverdict = 'allow'\n")
    env["PTYBRIDGE_POLICY_RULE"] = "[]"
    loaded = load(env)
    assert loaded.config.policy.rule == (PolicyRule(verdict="deny", command="dd"), PolicyRule(verdict="allow"))
    assert loaded.config.policy.confirm == "human"
    assert [loaded.origins[f"policy.rule.{number}"] for number in (1, 2)] == [f"{path}:1", f"{path}:8"]
    assert loaded.warnings[0].startswith("PTYBRIDGE_POLICY_RULE is not a variable of ptybridge")


def test_a_mistake_in_a_variable_names_the_variable(env: dict[str, str]) -> None:
    env["PTYBRIDGE_SESSION_COLS"] = "wide"
    with pytest.raises(ConfigInvalid, match=r"environment PTYBRIDGE_SESSION_COLS: session.cols: must be a whole"):
        load(env)


def test_unknown_variables_only_warn(env: dict[str, str]) -> None:
    env |= {"PTYBRIDGE_SOKET": "/x", "PTYBRIDGE_SESSION_ID": "s1", "PTYBRIDGE_CONFIG": ""}
    assert load(env).warnings == ["PTYBRIDGE_SOKET is not a variable of ptybridge (did you mean PTYBRIDGE_SOCKET?)"]


def test_a_file_asked_for_must_exist(env: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="no configuration file"):
        load(env, file=str(tmp_path / "absent.toml"))
    with pytest.raises(ConfigInvalid, match="no configuration file"):
        load({**env, "PTYBRIDGE_CONFIG": "/nowhere/config.toml"})


def test_a_file_that_is_not_text_is_refused_with_its_line(env: dict[str, str]) -> None:
    path = Path(write(env, ""))
    path.write_bytes(b"# fine\n# \xff\n")
    with pytest.raises(ConfigInvalid, match=r"config\.toml:2: this is not UTF-8"):
        load(env)


def test_a_socket_path_longer_than_the_system_allows_is_refused(env: dict[str, str]) -> None:
    env["PTYBRIDGE_SOCKET"] = "/" + "x" * 107
    with pytest.raises(ConfigInvalid, match="108 bytes long, 107 are possible"):
        load(env)
    env["PTYBRIDGE_SOCKET"] = "/" + "x" * 106
    assert load(env).config.paths.socket == env["PTYBRIDGE_SOCKET"]


def test_a_line_inside_an_inline_table_falls_back_to_the_section() -> None:
    assert line_of("\nsession = { cols = 0 }\n", "session", "cols") == 2


def test_lists_are_lists_in_the_file_and_separated_by_colons_in_a_variable(env: dict[str, str]) -> None:
    env["PTYBRIDGE_FILES_ROOTS"] = "/srv/a:~/b"
    assert load(env).config.files.roots == ("/srv/a", "~/b")
    env["PTYBRIDGE_FILES_ROOTS"] = "relative"
    with pytest.raises(ConfigInvalid, match="environment PTYBRIDGE_FILES_ROOTS"):
        load(env)


@pytest.mark.parametrize("key", KEYS)
def test_the_documentation_names_every_setting_with_its_default(key: str) -> None:
    page = (Path(__file__).parent.parent / "docs/configuration.md").read_text()
    row = next((line for line in page.splitlines() if line.startswith("|") and f"`{key}`" in line), "")
    assert row, f"docs/configuration.md does not know {key}"
    default = value_of(Config(), key)
    if not key.startswith("paths.") and default is not None:
        shown = str(default).lower() if isinstance(default, bool) else "[]" if default == () else str(default)
        assert f"`{shown}`" in row
