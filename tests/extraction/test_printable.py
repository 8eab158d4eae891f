from pathlib import Path

import pytest

from dreamprvr.extraction.printable import one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\x1b[2J\nb\t", "a\\x1b[2J\\nb\\t"), ("a\u2028b\x85", "a\\u2028b\\x85"),
        ("a\udcff", "a\\udcff"), ("\u202egnp", "\\u202egnp"),
        # letters of all languages, wide spaces, and pictures joined by what does not print
        *[(text, text) for text in ("ä ☃ café\u00a0!", "三\u3000二", "\U0001f469\u200d\U0001f373")],
    ],
)  # fmt: skip
def test_only_what_a_terminal_obeys_is_escaped(text: str, line: str) -> None:
    assert one_line(text) == line
    assert one_line(Path(text)) == line
