"""Turn a row of VT text, as the emulator's formatter writes it, into HTML that is safe to embed.

Nothing of the input reaches the output unescaped: text is escaped, styles are rebuilt from numbers. Links are
left out. The 16 basic colours are CSS variables (`--term-0` … `--term-15`) with a fallback, so that a page may
theme them.
"""

import html
import re
from typing import Final

_SGR: Final = re.compile(r"\x1b\[([0-9;:]*)m")
_BASIC: Final = (
    "000000", "cd3131", "0dbc79", "e5e510", "2472c8", "bc3fbc", "11a8cd", "e5e5e5",
    "666666", "f14c4c", "23d18b", "f5f543", "3b8eea", "d670d6", "29b8db", "ffffff",
)  # fmt: skip
_STEPS: Final = (0, 95, 135, 175, 215, 255)
_FLAGS: Final = {
    "1": "font-weight:bold", "2": "opacity:0.6", "3": "font-style:italic", "8": "visibility:hidden",
}  # fmt: skip
_LINES: Final = {"5": "blink", "9": "line-through", "53": "overline"}
_UNDERLINES: Final = {"1": "solid", "2": "double", "3": "wavy", "4": "dotted", "5": "dashed"}


def to_html(row: bytes) -> str:
    """Return a row as text and `<span style="…">` elements."""
    out: list[str] = []
    attributes: list[str] = []
    # Splitting by one group gives text, parameters, text, parameters, …
    for index, part in enumerate(_SGR.split(row.decode("utf-8", "replace"))):
        if index % 2:
            attributes = [] if part in {"", "0"} else [*attributes, part]
        elif part:
            text = html.escape(part)
            style = _style(attributes)
            out.append(f'<span style="{style}">{text}</span>' if style else text)
    return "".join(out)


def _style(attributes: list[str]) -> str:
    rules: list[str] = []
    lines: list[str] = []
    colors = {"38": "", "48": "", "58": ""}
    for attribute in attributes:
        number, _, rest = attribute.replace(":", ";").partition(";")
        if number in colors:
            colors[number] = _color(rest)
        elif number == "4":
            lines.append("underline")
            rules.append(f"text-decoration-style:{_UNDERLINES.get(rest, 'solid')}")
        elif number in _LINES:
            lines.append(_LINES[number])
        elif number in _FLAGS:
            rules.append(_FLAGS[number])
    foreground, background = colors["38"], colors["48"]
    if "7" in attributes:
        foreground = background or "var(--term-bg,#000000)"
        background = colors["38"] or "var(--term-fg,#e5e5e5)"
    if foreground:
        rules.append(f"color:{foreground}")
    if background:
        rules.append(f"background-color:{background}")
    if lines:
        rules.append(f"text-decoration-line:{' '.join(lines)}")
    if colors["58"]:
        rules.append(f"text-decoration-color:{colors['58']}")
    return ";".join(rules)


def _color(parameters: str) -> str:
    """Return the CSS for what follows 38, 48 or 58: "5;N" or "2;R;G;B"."""
    numbers = [int(number) & 0xFF for number in parameters.split(";") if number]
    if len(numbers) >= 4 and numbers[0] == 2:
        return "#{:02x}{:02x}{:02x}".format(*numbers[-3:])
    if len(numbers) == 2 and numbers[0] == 5:
        return _palette(numbers[1])
    return ""


def _palette(index: int) -> str:
    """xterm's 256 colours: 16 basic ones, a 6×6×6 cube, 24 greys."""
    if index < 16:
        return f"var(--term-{index},#{_BASIC[index]})"
    if index < 232:
        red, green, blue = (_STEPS[(index - 16) // step % 6] for step in (36, 6, 1))
        return f"#{red:02x}{green:02x}{blue:02x}"
    grey = 8 + (index - 232) * 10
    return f"#{grey:02x}{grey:02x}{grey:02x}"
