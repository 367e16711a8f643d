"""The configuration: every setting, its default and its limits in one place, and where each value came from.

Four sources, each stronger than the one before: the defaults, the TOML file, `PTYBRIDGE_*` variables, flags.
Reading it opens that one file and nothing else.
"""

from ptybridge.config.file import line_of, pattern_problem
from ptybridge.config.loading import config_file, load
from ptybridge.config.settings import (
    KEYS,
    MAX_SOCKET_PATH_BYTES,
    SECTIONS,
    TABLES,
    VARIABLES,
    AbsolutePath,
    Attach,
    Config,
    Daemon,
    Files,
    Loaded,
    Paths,
    Policy,
    PolicyRule,
    Secret,
    Serve,
    Session,
    Verdict,
    Web,
    value_of,
    variable_of,
)

__all__ = [
    "KEYS",
    "MAX_SOCKET_PATH_BYTES",
    "SECTIONS",
    "TABLES",
    "VARIABLES",
    "AbsolutePath",
    "Attach",
    "Config",
    "Daemon",
    "Files",
    "Loaded",
    "Paths",
    "Policy",
    "PolicyRule",
    "Secret",
    "Serve",
    "Session",
    "Verdict",
    "Web",
    "config_file",
    "line_of",
    "load",
    "pattern_problem",
    "value_of",
    "variable_of",
]
