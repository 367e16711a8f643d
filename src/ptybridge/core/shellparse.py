"""A shell script as the simple commands it would run, found on its parse; nothing is run and no file is read.

How it works: tree-sitter parses, and one walk over the tree in the order of the text reports every simple command, with
its words expanded as far as they can be known (`shellwords`), where its standard input comes from, and where its output
goes. Assignments before a command count for it, whatever branch they stand in. A script the grammar does not take
as a whole is, besides, cut at its separators and judged piece by piece, so that nothing hides behind an error.

tree-sitter and its grammar are imported at the first parse, or by `warm`.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import msgspec

from ptybridge.core.shellwords import (
    FROM_PIPE,
    TAINT,
    UNKNOWN,
    Variables,
    array,
    clean,
    expand,
    expand_value,
    pieces_of,
)

# Above these nobody could say in time what a script does; the callers judge such a script as unknown.
MAX_SCRIPT_BYTES: Final = 64 << 10
# The grammar takes quadratic time for here-documents that follow each other unclosed.
MAX_HERE_DOCUMENTS: Final = 64
# A substitution is parsed once more for each one around it.
MAX_SUBSTITUTION: Final = 4096
MAX_DEPTH: Final = 4

# What downloads, decodes or rewrites: what comes out of it is not what can be read here.
SOURCES: Final = frozenset(
    """curl wget fetch aria2c lynx w3m links http https httpie xh nc ncat netcat socat ftp telnet lwp-request GET
    base64 base32 basenc xxd openssl gpg uudecode gunzip zcat gzip bunzip2 bzcat bzip2 unxz xzcat xz unzstd zstdcat zstd
    unlz4 brotli tr rev sed awk gawk mawk cut perl python python2 python3 ruby node php lua od hexdump""".split()
)


class Input(msgspec.Struct, frozen=True):
    """Where a command's standard input comes from: its text if that is known, and what wrote it."""

    text: str | None = None
    piped: bool = False
    file: bool = False


class Call(msgspec.Struct, frozen=True):
    """One simple command. `words[0]` names the program; `outputs` are the files it would write by redirection."""

    words: list[str]
    input: Input = Input()
    outputs: list[str] = []
    background: bool = False


class Function(msgspec.Struct, frozen=True):
    """A function definition: how often its body calls it, and whether in a pipeline or in the background."""

    name: str
    calls: int
    multiplies: bool


Visit = Callable[[Call | Function, Variables], None]


@cache
def _parser() -> Any:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


def warm() -> None:
    """Load the grammar, which takes some 15 ms, before somebody waits for it."""
    _parser().parse(b":")


def parseable(text: str) -> bool:
    """Tell whether a script is small enough to be judged."""
    return len(text) <= MAX_SCRIPT_BYTES and text.count("<<") <= MAX_HERE_DOCUMENTS


def unfinished(text: str) -> bool:
    """Tell whether a shell that was given this would wait for more, as far as the parse tells; an error looks alike."""
    return parseable(text) and bool(_parser().parse(clean(text).encode("utf-8", "replace")).root_node.has_error)


def walk(text: str, visit: Visit, variables: Variables | None = None, depth: int = 0) -> None:
    """Report the simple commands and functions of a script. It must be `parseable`."""
    text = clean(text)
    source = text.encode("utf-8", "replace")
    root = _parser().parse(source).root_node
    known = variables if variables is not None else Variables()
    _Walk(visit, known, depth).run(root)
    if root.has_error:
        _walk_pieces(text, visit, known, depth)


def output_of(words: list[str], given: Input) -> str | None:
    """Return what a command prints, or a mark, as far as that is known: TAINT, or None for what nobody can say."""
    program = words[0].rpartition("/")[2] if words else ""
    arguments = [word for word in words[1:] if not word.startswith("-") or word == "-"]
    if program in {"echo", "print"}:
        rest = words[1:]
        while rest and re.fullmatch(r"-[neErR]+", rest[0]):
            rest = rest[1:]
        return " ".join(rest)
    if program == "printf" and arguments:
        if "%b" in arguments[0] or "\\" in arguments[0]:
            arguments[0] = expand(f"$'{arguments[0]}'", Variables(), lambda _: UNKNOWN)[0] if arguments[0] else ""
        head, rest = arguments[0], arguments[1:]
        while rest and "%s" in head:
            head = head.replace("%s", rest.pop(0), 1)
        return head
    if program in {"cat", "tee"} and (not arguments or arguments == ["-"] or program == "tee"):
        return given.text
    if program == "cat" and any(FROM_PIPE in word for word in arguments):
        return arguments[0].removeprefix(FROM_PIPE)
    if program == "cat":
        return UNKNOWN  # a file: as good, or bad, as running it
    if program == "find" and arguments:
        return "\n".join(find_roots(words))
    if program == "ls" and arguments:
        return "\n".join(f"{one.rstrip('/')}/*" for one in arguments)
    if program in SOURCES or any(word.rpartition("/")[2] in SOURCES for word in words[1:3]):
        return TAINT
    if given.text is not None and TAINT in given.text:
        return TAINT
    return None


def find_roots(words: list[str]) -> list[str]:
    """Return where a find(1) begins: the arguments before its first test or action."""
    roots = []
    for word in words[1:]:
        if word.startswith(("-", "(", "!")):
            if word in {"-H", "-L", "-P"}:
                continue
            break
        roots.append(word)
    return roots or ["."]


def _substitution(command: str, variables: Variables, depth: int) -> str:
    """Return what a command substitution yields: its text, TAINT, or UNKNOWN."""
    if depth >= MAX_DEPTH or len(command) > MAX_SUBSTITUTION or not parseable(command):
        return TAINT
    found: list[str | None] = []

    def note(what: Call | Function, _: Variables) -> None:
        if isinstance(what, Call) and what.words:
            found.append(output_of(what.words, what.input))

    if command.strip():
        walk(command, note, variables.copy(), depth + 1)
    if any(one is not None and TAINT in one for one in found):
        return TAINT
    return found[-1].rstrip("\n") if found and found[-1] is not None else UNKNOWN


class _Walk:
    """One walk over one tree, without recursion: nesting costs memory, not stack."""

    def __init__(self, visit: Visit, variables: Variables, depth: int) -> None:
        self._visit = visit
        self._variables = variables
        self._depth = depth
        self._todo: list[tuple[Any, Input, list[str], bool]] = []
        self._scans = 20

    def run(self, root: Any) -> None:
        self._push(root, Input())
        while self._todo:
            node, given, outputs, background = self._todo.pop()
            match node.type:
                case "command":
                    self._command(node, given, outputs, background)
                case "pipeline":
                    self._pipeline(list(node.named_children), given)
                case "redirected_statement":
                    self._redirected(node, given, outputs)
                case "variable_assignment":
                    self._assignment(node)
                case "for_statement" | "select_statement":
                    self._loop(node, given)
                case "function_definition":
                    self._function(node)
                    self._push_children(node, Input())
                case "declaration_command":
                    self._push_children(node, Input())
                case "comment" | "heredoc_end" | "heredoc_start":
                    pass
                case _:
                    self._push_children(node, given if _passes_input(node.type) else Input(), outputs)

    # -- pushing --------------------------------------------------------------------------------------------

    def _push(self, node: Any, given: Input, outputs: list[str] | None = None, *, background: bool = False) -> None:
        self._todo.append((node, given, outputs or [], background))

    def _push_children(self, node: Any, given: Input, outputs: list[str] | None = None) -> None:
        children = node.children
        for at in range(len(children) - 1, -1, -1):
            child = children[at]
            if child.is_named:
                following = children[at + 1].type if at + 1 < len(children) else ""
                self._push(child, given, outputs, background=following == "&")

    def _words(self, node: Any) -> list[str]:
        return expand(_text(node), self._variables, self._substitute)

    def _substitute(self, command: str) -> str:
        return _substitution(command, self._variables, self._depth)

    # -- kinds of nodes -------------------------------------------------------------------------------------

    def _call(self, node: Any, given: Input, outputs: list[str], background: bool) -> Call:
        words: list[str] = []
        for child in node.children:
            if child.type == "herestring_redirect":
                texts = self._words(child.named_children[-1]) if child.named_children else []
                given = Input(text=" ".join(texts), piped=True)
            elif child.type in {"file_redirect", "heredoc_redirect"}:
                given, more = self._redirect(child, given)
                outputs = [*outputs, *more]
            elif child.type != "variable_assignment" and child.is_named:
                words += self._words(child)
        return Call(words=words, input=given, outputs=outputs, background=background)

    def _command(self, node: Any, given: Input, outputs: list[str], background: bool) -> None:
        for child in node.children:
            if child.type == "variable_assignment":
                self._assignment(child)
        call = self._call(node, given, outputs, background)
        if call.words and call.words[0] == "read" and call.input.text is not None:
            for name in call.words[1:]:
                self._variables.add(name, call.input.text.strip())
        self._visit(call, self._variables)
        self._push_children(node, Input())

    def _pipeline(self, stages: list[Any], given: Input) -> None:
        inputs = []
        for stage in stages:
            inputs.append((stage, given))
            text = self._output(stage, given)
            given = Input(text=text, piped=True)
        for stage, source in reversed(inputs):
            self._push(stage, source, background=len(stages) > 1)

    def _output(self, stage: Any, given: Input) -> str | None:
        if stage.type == "redirected_statement":
            body = stage.child_by_field_name("body")
            for child in stage.children:
                if child.type.endswith("_redirect"):
                    given, _ = self._redirect(child, given)
            return self._output(body, given) if body is not None else None
        if stage.type == "command":
            call = self._call(stage, given, [], False)
            return output_of(call.words, call.input) if call.words else None
        if stage.type in {"subshell", "compound_statement"}:
            inner = _text(stage).strip("(){} \n;")
            found = _substitution(inner, self._variables, self._depth) if len(inner) <= MAX_SUBSTITUTION else TAINT
            return None if found == UNKNOWN else found
        return None

    def _redirected(self, node: Any, given: Input, outputs: list[str]) -> None:
        body = node.child_by_field_name("body")
        tail: list[Any] = []
        for child in node.children:
            if child.type.endswith("_redirect"):
                given, more = self._redirect(child, given)
                outputs = [*outputs, *more]
                tail += [one for one in child.named_children if one.type in _STATEMENTS]
        if body is None:
            self._visit(Call(words=[], input=given, outputs=outputs), self._variables)
        # `cat <<EOF | sh` has its pipeline inside the redirection: what follows reads what the body prints.
        if tail and body is not None:
            printed = Input(text=self._output(body, given), piped=True)
            for one in reversed(tail):
                if one.type == "pipeline":
                    self._pipeline(list(one.named_children), printed)
                else:
                    self._push(one, printed)
        for child in reversed(node.children):
            if child.type.endswith("_redirect"):
                for one in child.named_children:
                    if one.type not in _STATEMENTS:
                        self._push(one, Input())
        if body is not None:
            self._push(body, given, outputs)

    def _redirect(self, node: Any, given: Input) -> tuple[Input, list[str]]:
        if node.type == "heredoc_redirect":
            body = next((one for one in node.children if one.type == "heredoc_body"), None)
            start = next((one for one in node.children if one.type == "heredoc_start"), None)
            text = _text(body) if body is not None else ""
            if start is not None and not set(_text(start)) & set("'\"\\"):
                quoted = text.replace('"', '\\"')
                text = " ".join(expand(f'"{quoted}"', self._variables, self._substitute))
            return Input(text=text, piped=True), []
        if node.type == "herestring_redirect":
            texts = self._words(node.named_children[-1]) if node.named_children else []
            return Input(text=" ".join(texts), piped=True), []
        targets = [word for one in node.named_children if one.type != "file_descriptor" for word in self._words(one)]
        operator = "".join(one.type for one in node.children if not one.is_named)
        if operator.startswith("<"):
            if targets and targets[0].startswith(FROM_PIPE):
                return Input(text=targets[0].removeprefix(FROM_PIPE), piped=True), []
            return Input(file=True), targets if ">" in operator else []
        return given, targets

    def _assignment(self, node: Any) -> None:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None:
            return
        if value is not None and value.type == "array":
            words = [word for one in value.named_children for word in self._words(one)]
            values: tuple[str, ...] = (array(words),)
        else:
            values = expand_value(_text(value), self._variables, self._substitute) if value is not None else ("",)
        append = any(one.type == "+=" for one in node.children)
        self._variables.add(_text(name).partition("[")[0], *values, append=append)
        if value is not None:
            self._push(value, Input())

    def _loop(self, node: Any, given: Input) -> None:
        name = node.child_by_field_name("variable")
        body = node.child_by_field_name("body")
        if name is not None:
            values = [word for one in node.named_children if one not in (name, body) for word in self._words(one)]
            self._variables.add(_text(name), *values)
        self._push_children(node, given)

    def _function(self, node: Any) -> None:
        """Look for a function that calls itself more than once at a time: the fork bomb."""
        named = node.child_by_field_name("name")
        self._scans -= 1
        if named is None or self._scans < 0:
            return
        name, calls, multiplies = _text(named), 0, False
        todo = [(one, False) for one in node.named_children]
        while todo:
            one, several = todo.pop()
            if one.type == "command" and _text(one.named_children[0]) == name:
                calls += 1
                multiplies = multiplies or several
            for child in one.children:
                after = child.next_sibling
                apart = one.type == "pipeline" or (after is not None and after.type == "&")
                if child.is_named:
                    todo.append((child, several or apart))
        self._visit(Function(name=name, calls=calls, multiplies=multiplies), self._variables)


_STATEMENTS: Final = frozenset(
    {"command", "pipeline", "list", "subshell", "compound_statement", "redirected_statement", "if_statement"}
)


def _passes_input(kind: str) -> bool:
    """Tell whether the commands inside read what the whole reads: `… | (cd x; sh)`, `… | while read`."""
    return kind.endswith("_statement") or kind in {"subshell", "list", "do_group", "negated_command", "program"}


def _text(node: Any) -> str:
    found: bytes = node.text
    return found.decode("utf-8", "replace")


_RESERVED: Final = frozenset("if then else elif while until do ! { time function coproc".split())
_REDIRECTS: Final = ("<", ">", "&>")


def _walk_pieces(text: str, visit: Visit, variables: Variables, depth: int) -> None:
    printed: str | None = None
    for before, sources in pieces_of(text):
        while sources and sources[0] in _RESERVED:
            sources = sources[1:]
        given = Input(text=printed, piped=True) if before.startswith("|") and before != "||" else Input()
        call = _piece(iter(sources), given, visit, variables, depth)
        if call.words or call.outputs:
            visit(call, variables)
        printed = output_of(call.words, call.input) if call.words else None


def _piece(sources: Iterator[str], given: Input, visit: Visit, variables: Variables, depth: int) -> Call:
    def substitute(command: str) -> str:
        if depth < MAX_DEPTH and len(command) <= MAX_SUBSTITUTION and parseable(command):
            walk(command, visit, variables.copy(), depth + 1)
        return _substitution(command, variables, depth)

    words: list[str] = []
    outputs: list[str] = []
    for source in sources:
        operator = source.lstrip("0123456789")
        if operator.startswith(_REDIRECTS) and not operator.strip("<>&|-"):
            target = expand(next(sources, ""), variables, substitute)
            if operator == "<<<":
                given = Input(text=" ".join(target), piped=True)
            elif ">" in operator:
                outputs += target
            continue
        name, equals, value = source.partition("=")
        if not words and equals and name.isidentifier():
            variables.add(name, *expand_value(value, variables, substitute))
            continue
        words += expand(source, variables, substitute)
    return Call(words=words, input=given, outputs=outputs)
