"""Scripts of dialogues as they are read: every mistake is told with its line."""

import pytest

from ptybridge.errors import InvalidParams
from ptybridge.sdk.patterns import EXITED, TIMEOUT
from ptybridge.sdk.script import parse

GOOD = r"""
# A comment.
spawn sh -c 'echo "a b"'   # another
timeout 2.5
define pin env PIN

expect "a\tb\"" within 3
send "x"
line
keys ctrl-c up
expect any
    /a\/(b)/i
        secret pin
        expect any
          "deeper"
          timeout
            fail "no"
        again
    exit
done
"""


def test_a_script_is_read() -> None:
    script = parse(GOOD, "good")
    assert script.command == ("sh", "-c", 'echo "a b"')
    assert script.seconds == 2.5
    first, send, line, keys, many, done = script.steps
    assert (first.line, first.seconds, first.branches[0].choice) == (7, 3.0, 'a\tb"')
    assert (send.text, line.text, keys.words, done.verb) == ("x", "", ("ctrl-c", "up"), "done")
    regex, ending = many.branches
    assert regex.choice.search("xA/B")  # type: ignore[union-attr]
    assert [one.verb for one in regex.steps] == ["secret", "expect", "again"]
    assert [one.choice for one in regex.steps[1].branches] == ["deeper", TIMEOUT]
    assert (ending.choice, ending.steps) == (EXITED, ())


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 0, "nothing to do"),
        ('line "a"\nwait 3', 2, "'wait' is no statement"),
        ('line "a"\nspawn cat', 2, "at the beginning"),
        ("spawn cat\nspawn cat", 2, "once"),
        ("spawn 'cat", 1, "quotes"),
        ("timeout soon", 1, "number of seconds"),
        ('\n\nexpect "a" within -1', 3, "number of seconds"),
        ("expect hello", 1, '"quotes"'),
        ("expect", 1, '"quotes"'),
        ('expect ""', 1, "empty"),
        ("expect /(/", 1, "regular expression"),
        ('send "a" "b"', 1, "more in this line"),
        (r'send "\q"', 1, r"\q means nothing"),
        ("send", 1, '"quotes"'),
        ('line "a"\nexpect any\nline "b"', 2, "below it, indented"),
        ('expect any\n  "a"\n   "b"', 3, "'\"b\"' is no statement"),
        ('expect any\n   "a"\n  "b"', 3, "indented by 2"),
        ('expect any\n  "a"\n  "a"', 3, "already"),
        ('expect any\n\t"a"', 2, "tabs"),
        ('line "a"\n  line "b"', 2, "indented"),
        ("again", 1, "branch"),
        ('done\nline "a"', 2, "behind done"),
        ("secret pin", 1, "no secret is called pin"),
        ("define 1 env A", 1, "no name"),
        ("define a env A\ndefine a env B", 2, "line 1"),
        ("define a env", 1, "missing"),
        ("define a env A B", 1, "one word"),
        ("define a hunter2", 1, "env, file, command or ask"),
        ("keys", 1, "missing"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        parse(text, "bad")
    assert caught.value.message.startswith(f"bad:{line}: " if line else "bad: ")
    assert said in caught.value.message
    # What stands where a secret's place is named may be the secret.
    assert "hunter2" not in caught.value.message + (caught.value.hint or "")
