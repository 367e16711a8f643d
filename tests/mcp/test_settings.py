"""The settings of an MCP connection: names, values, mistakes."""

import pytest

from ptybridge.errors import ConfigInvalid
from ptybridge.mcp.settings import DEFAULT_KEEP_SECONDS, Settings, read_settings


def test_there_are_26_with_the_defaults_of_the_reference() -> None:
    assert len(Settings.__struct_fields__) == 26
    settings = read_settings({"HOME": "/x", "PTY_MCP_UNKNOWN": "1"})
    assert settings == Settings()
    assert (settings.max_sessions, settings.idle_timeout_ms, settings.max_chars) == (20, 900_000, 8000)
    assert settings.require_owner
    assert settings.keep_ms == DEFAULT_KEEP_SECONDS * 1000


def test_our_name_wins() -> None:
    assert read_settings({"PTY_MCP_MAX_CHARS": "5", "PTYBRIDGE_MCP_MAX_CHARS": "6"}).max_chars == 6


@pytest.mark.parametrize(("text", "value"), [("1", True), ("TRUE", True), (" yes ", True), ("0", False), ("No", False)])
def test_booleans_in_any_case(text: str, value: bool) -> None:
    assert read_settings({"PTY_MCP_SPAWN_META": text}).spawn_meta is value


def test_words_seconds_and_paths() -> None:
    settings = read_settings(
        {
            "PTY_MCP_LOG": "WARN",
            "PTY_MCP_BACKEND": "tmux",
            "PTY_MCP_IDLE_GRACE_SEC": "0.5",
            "PTY_MCP_SESSION_LOG_DIR": "/Logs",
            "PTY_MCP_DANGEROUS_PATTERNS": "A;b",
            "PTY_MCP_STATE_DIR": "",
        }
    )
    assert (settings.log, settings.backend, settings.keep_ms) == ("warn", "tmux", 500)
    assert (settings.session_log_dir, settings.dangerous_patterns, settings.state_dir) == ("/Logs", "A;b", None)


def test_no_idle_limit() -> None:
    assert read_settings({"PTY_MCP_IDLE_TIMEOUT_SEC": "0"}).idle_timeout_ms is None


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("MAX_SESSIONS", "0", "must be at least 1"),
        ("MAX_SESSIONS", "many", "must be a whole number"),
        ("MAX_CHARS", "-3", "must be at least 1"),
        ("IDLE_TIMEOUT_SEC", "soon", "must be a number of seconds"),
        ("IDLE_TIMEOUT_SEC", "nan", "must be a number of seconds"),
        ("IDLE_GRACE_SEC", "-1", "must be at least 0"),
        ("REQUIRE_OWNER", "on", "must be 1, true or yes, or 0, false or no"),
        ("LOG", "loud", "there is no such choice: 'loud'"),
        ("BACKEND", "screen", "there is no such choice: 'screen'"),
        ("RING_MAX_BYTES", str(1 << 40), f"must be at most {1 << 30}"),
    ],
)
def test_mistakes_are_named_and_never_replaced(name: str, text: str, words: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read_settings({f"PTY_MCP_{name}": text})
    assert caught.value.message == f"PTY_MCP_{name}={text!r}: {words}"


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigInvalid, match=r"(?s)PTY_MCP_MAX_CHARS.*PTYBRIDGE_MCP_LOG"):
        read_settings({"PTY_MCP_MAX_CHARS": "x", "PTYBRIDGE_MCP_LOG": "x"})
