"""The TOML file: reading it strictly, so that every mistake is told with its line.

tomllib is imported only when the file exists, and the regular expressions' engine only when there is one to check,
because this lies on the path of every command.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from ptybridge.config.settings import KEYS, SECTIONS, TABLES, PolicyRule
from ptybridge.errors import ConfigInvalid
from ptybridge.mistakes import divided, near, plain


def read_file(path: str, *, must_exist: bool) -> list[tuple[str, object, int]]:
    """Return (dotted key, value, line) of everything the file sets."""
    try:
        with open(path, "rb") as source:
            raw = source.read()
    except FileNotFoundError:
        if must_exist:
            raise ConfigInvalid(f"there is no configuration file {path}") from None
        return []
    except OSError as exc:
        raise ConfigInvalid(f"cannot read the configuration file {path}: {exc.strerror}") from exc
    import tomllib

    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise ConfigInvalid(f"{path}:{line}: this is not UTF-8") from exc
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(exc))
        at = (place and place[1]) or str(len(text.splitlines()))
        raise ConfigInvalid(f"{path}:{at}: {str(exc)[: place.start()] if place else exc}") from exc
    return list(_check_tree(tree, text, path))


def _check_tree(tree: dict[str, Any], text: str, path: str) -> Iterable[tuple[str, object, int]]:
    for name, values in tree.items():
        at = f"{path}:{line_of(text, name)}"
        if name not in SECTIONS:
            owners = [key for key in KEYS if key.endswith(f".{name}")]
            advice = f" (it belongs under [{owners[0].partition('.')[0]}])" if owners else near(name, SECTIONS)
            raise ConfigInvalid(f"{at}: there is no section {name!r}{advice}")
        if not isinstance(values, dict):
            raise ConfigInvalid(f"{at}: {name!r} is a section: write [{name}]")
        known = SECTIONS[name].__struct_fields__
        for key, value in values.items():
            line = line_of(text, name, key)
            if key not in known:
                raise ConfigInvalid(f"{path}:{line}: there is no setting {key!r} in [{name}]{near(key, known)}")
            if f"{name}.{key}" in TABLES:
                line = table_line(text, f"{name}.{key}", 1)
                yield from _check_tables(values[key], text, path, f"{name}.{key}")
            try:
                msgspec.convert({key: value}, SECTIONS[name])
            except msgspec.ValidationError as exc:
                raise ConfigInvalid(f"{path}:{line}: {name}.{key}: {plain(exc)}") from None
            yield f"{name}.{key}", value, line


def _check_tables(tables: object, text: str, path: str, name: str) -> Iterable[tuple[str, object, int]]:
    """Check a list of tables; yield each one's own key and place, for their origins."""
    kind = TABLES[name]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigInvalid(f"{path}:{table_line(text, name, 1)}: {name!r} is a list of tables: write [[{name}]]")
    for number, table in enumerate(tables, start=1):
        start = table_line(text, name, number)
        for key in table:
            if key not in kind.__struct_fields__:
                at = f"{path}:{table_line(text, name, number, key)}"
                advice = near(key, kind.__struct_fields__)
                raise ConfigInvalid(f"{at}: there is no setting {key!r} in [[{name}]]{advice}")
        try:
            made = msgspec.convert(table, kind)
        except msgspec.ValidationError as exc:
            place = divided(exc)[1].partition("[")[0]
            at = f"{path}:{table_line(text, name, number, place or None)}"
            raise ConfigInvalid(f"{at}: {name}{place and f'.{place}'}: {plain(exc)}") from None
        problem = pattern_problem(made.command) if isinstance(made, PolicyRule) and made.command else ""
        if problem:
            at = f"{path}:{table_line(text, name, number, 'command')}"
            raise ConfigInvalid(f"{at}: {name}.command: not a regular expression: {problem}")
        yield f"{name}.{number}", table, start


def pattern_problem(pattern: str) -> str:
    """Return what is wrong with a regular expression, "" if nothing is."""
    import re2  # only when there is a pattern, for this module lies on the path of every command

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(b"(?m)" + pattern.encode("utf-8", "replace"), options)
    except re2.error as exc:
        return str(exc.args[0].decode(errors="replace").replace("(?m)", "", 1))
    return ""


def table_line(text: str, name: str, number: int, key: str | None = None) -> int:
    """Find the line (from 1) of the header of the `number`th `[[name]]`, or of a key in it; see `line_of`."""
    seen, current, found = 0, "", 0
    for at, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
        if header:
            current = re.sub(r"[\"' ]", "", header[1])
            seen += current == name
            if seen == number and current == name:
                found = at
                if key is None:
                    return at
            continue
        assignment = re.match(r"\s*([\w\-\"']+?)\s*=", line)
        if assignment and current == name and seen == number and assignment[1].strip("\"'") == key:
            return at
    section, _, field = name.rpartition(".")
    return found or line_of(text, section, field)


def line_of(text: str, section: str, key: str | None = None) -> int:
    """Find the line (from 1) that sets a key. tomllib does not tell, so this reads headers and keys by itself.

    Good for what people write; inside odd constructs (inline tables) it falls back to the section's line.
    """
    current, fallback = "", 1
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
        if header:
            current = header[1].replace('"', "").replace("'", "")
            if current.partition(".")[0] == section:
                fallback = number
                if key is None:
                    return number
            continue
        assignment = re.match(r"\s*([\w\-.\"' ]+?)\s*=", line)
        if not assignment:
            continue
        name = re.sub(r"[\"' ]", "", assignment[1])
        full = f"{current}.{name}" if current else name
        if key is not None and full == f"{section}.{key}":
            return number
        if not current and (name == section or name.startswith(f"{section}.")):
            if key is None:
                return number
            fallback = number
    return fallback
