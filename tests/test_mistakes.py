"""Mistakes in words: everything msgspec says about types we declare."""

from typing import Annotated, Any, Literal

import msgspec
import pytest

from ptybridge.mistakes import divided, is_of_names, misread, near, plain, told


class Until(msgspec.Struct, forbid_unknown_fields=True):
    pattern: str


class Params(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    session_id: str
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    tags: Annotated[list[Annotated[str, msgspec.Meta(min_length=1)]], msgspec.Meta(max_length=2)] = []
    key: Annotated[bytes, msgspec.Meta(min_length=16)] = bytes(16)
    cols: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 80
    factor: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    mode: Literal["drain", "pause"] = "drain"
    command: str | list[str] | None = None
    env: dict[str, str | None] = {}
    echo: bool = True
    until: list[Until] = []
    code: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")] = "a"


MISTAKES = [
    ({"name": ""}, "name must have at least 1 character"),
    ({"name": "x" * 129}, "name must have at most 128 characters"),
    ({"tags": ["a", ""]}, "tags[1] must have at least 1 character"),
    ({"tags": ["a"] * 3}, "tags must have at most 2 items"),
    ({"key": "eHg="}, "key must have at least 16 bytes"),
    ({"cols": 0}, "cols must be at least 1"),
    ({"cols": 2**70}, "cols must be at most 1000"),
    ({"cols": "80"}, "cols must be a whole number, not text"),
    ({"cols": 1.5}, "cols must be a whole number, not a number"),
    ({"factor": 0}, "factor must be more than 0"),
    ({"mode": "draim"}, "mode: there is no such choice: 'draim'"),
    ({"command": 7}, "command must be text or a list or null, not a whole number"),
    ({"env": {"A": 1}}, "env[...] must be text or null, not a whole number"),
    ({"env": []}, "env must be an object, not a list"),
    ({"echo": "yes"}, "echo must be true or false, not text"),
    ({"until": [{}]}, "the parameter 'pattern' is missing in until[0]"),
    ({"until": [{"patern": "x", "pattern": "x"}]}, "there is no parameter 'patern' in until[0]"),
    ({"nam": "x"}, "there is no parameter 'nam' (did you mean name?)"),
    ({"`odd`\n": 1}, "there is no parameter '`odd`\\n'"),
    ({"session_id": msgspec.UNSET}, "the parameter 'session_id' is missing"),
    ({"code": "1"}, "code: expected `str` matching regex '^[a-z]+$'"),
]


def mistake(given: Any) -> msgspec.ValidationError:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(msgspec.json.encode(given), type=Params)
    return caught.value


@pytest.mark.parametrize(("given", "words"), MISTAKES)
def test_each_is_told_with_its_place(given: dict[str, object], words: str) -> None:
    values = {"session_id": "s", **given}
    exc = mistake({name: value for name, value in values.items() if value is not msgspec.UNSET})
    assert told(exc, Params.__struct_fields__) == words
    assert is_of_names(exc) == ("missing" in words or "there is no parameter" in words)


def test_at_the_top_there_is_no_place() -> None:
    exc = mistake(["s"])
    assert told(exc) == plain(exc) == "must be an object, not a list"
    assert divided(exc)[1] == ""
    assert told(mistake({}), noun="argument") == "the argument 'session_id' is missing"


def test_what_is_read_has_a_name() -> None:
    assert misread(mistake(["s"])) == "it must be an object, not a list"
    assert misread(mistake(["s"]), whole="the body") == "the body must be an object, not a list"
    assert misread(mistake({"session_id": 1}), whole="the body") == "session_id must be text, not a whole number"
    assert misread(mistake({})) == "the member 'session_id' is missing"
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(b"{} {}")
    assert misread(caught.value) == str(caught.value)


def test_only_what_is_near_is_offered() -> None:
    assert near("sesion", ["session", "web"]) == " (did you mean session?)"
    assert near("zzz", ["session", "web"]) == ""
