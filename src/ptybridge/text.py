"""Text from strangers, made safe to print: a session's name, title or command may hold anything (S24)."""

# Cc: controls, ESC among them. Cs: lone surrogates, which cannot be encoded. Zl, Zp: would break the line.
_HARMFUL_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Marks that reorder what stands around them, so that what is read is not what is there (CVE-2021-42574).
_DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str, limit: int = 512) -> str:
    """Return `text` as one line safe to print anywhere, at most `limit` characters; line breaks become spaces."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():
        return text
    from unicodedata import category  # only for the few texts that need a closer look

    flat = text.replace("\r\n", " ").replace("\n", " ").replace("\t", " ")
    return "".join(
        char for char in flat if char not in _DIRECTION_MARKS and category(char) not in _HARMFUL_CATEGORIES
    )
