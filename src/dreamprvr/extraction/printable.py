"""Text of others in one line of a terminal, which obeys what it is sent."""

import unicodedata
from pathlib import Path

# control characters, line and paragraph ends, halves of surrogates
_OBEYED = frozenset({"Cc", "Zl", "Zp", "Cs"})
# turn the order of the letters that follow, beyond the end of the text
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def one_line(text: str | Path) -> str:
    """A text with what a terminal would obey, and what breaks lines, as escapes like "\\x1b"."""
    found = str(text)
    if found.isprintable():
        return found
    return "".join(ascii(c)[1:-1] if _is_obeyed(c) else c for c in found)


def _is_obeyed(character: str) -> bool:
    return unicodedata.category(character) in _OBEYED or character in _TURNING
