"""The guides are true: every command line in them names a command and options that there are."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ptybridge.cli.program import program

ROOT = Path(__file__).parent.parent.parent
# The changelog also tells of what was wrong.
GUIDES = sorted(page for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")] if page.name != "changelog.md")
# What ends a command line, or begins one of another program.
ENDS = {"|", "||", "&&", ";", "&", ">", "<", "#", "--"}


def command_lines(text: str) -> Iterator[list[str]]:
    """The words behind `ptybridge` in code, each line and each span of it."""
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    for block in re.findall(r"```(?!python|json|toml|js)\w*\n(.*?)```", text, re.DOTALL):
        spans += block.splitlines()
    for span in spans:
        found = re.match(r"(?:\$ |sudo )?ptybridge (?=[a-z-])(.*)", span.strip())
        if found is not None:
            yield words(re.sub(r"[\[\]…]|\\\|", " ", found[1]))


def words(line: str) -> list[str]:
    lexer = shlex.shlex(line.replace("'", '"') if line.count("'") % 2 else line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    try:
        found = list(lexer)
    except ValueError:
        found = line.split()
    return found[: next((at for at, word in enumerate(found) if word in ENDS), len(found))]


def mistakes(line: list[str]) -> Iterator[str]:
    found: click.Command = program
    ctx = click.Context(program, info_name="ptybridge")
    rest = line[1:] if line[:1] == ["help"] else list(line)
    options = {name for param in program.params for name in param.opts} | {"--help", "-h"}
    while rest:
        word = rest.pop(0)
        if word.startswith("-"):
            # The value of an option may be anything; that of one of the whole program stands before the command.
            if word.split("=")[0] not in options and not re.fullmatch(r"-\d+", word):
                yield f"`ptybridge {shlex.join(line)}`: {ctx.command_path} has no option {word}"
            if found is program and word in {"--socket", "--config"}:
                rest = rest[1:]
        elif isinstance(found, click.Group):
            below = found.get_command(ctx, word)
            if below is None:
                if word.islower() and word.isalpha():
                    yield f"`ptybridge {shlex.join(line)}`: there is no {ctx.command_path} {word}"
                return
            found, ctx = below, click.Context(below, parent=ctx, info_name=word)
            options |= {name for param in below.params for name in [*param.opts, *param.secondary_opts]}


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_in_a_guide_can_be_typed(page: Path) -> None:
    assert [mistake for line in command_lines(page.read_text()) for mistake in mistakes(line)] == []


def test_mistakes_are_found() -> None:
    page = "`ptybridge nosuch`, `ptybridge ls --all`, `ptybridge file cp -x a b`\n```\n$ ptybridge key old\n```\n"
    found = [mistake for line in command_lines(page) for mistake in mistakes(line)]
    assert len(found) == 4
    good = "`ptybridge run -- ls --all`, `ptybridge --socket x ls`, `ptybridge tail -f x | grep -v y`"
    assert [mistake for line in command_lines(good) for mistake in mistakes(line)] == []
