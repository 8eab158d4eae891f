"""Types of options and arguments: what is taken, and else a line that says so."""

from argparse import ArgumentTypeError
from collections.abc import Callable

from dreamprvr.extraction.printable import one_line

LARGEST = 1_000_000  # videos or moments that can be asked for


def count(largest: int = LARGEST) -> Callable[[str], int]:
    """The type of a whole number from 1 to `largest`."""

    def parse(word: str) -> int:
        try:
            value = int(word)
        except ValueError:  # also of more digits than int reads
            value = 0
        if not 1 <= value <= largest:
            shown = word if len(word) <= 30 else f"{word[:30]}..."
            raise ArgumentTypeError(f"{shown} is no whole number from 1 to {largest:,}")
        return value

    return parse


def text(word: str) -> str:
    """The type of words that are searched for: Unicode, as the shell gives it in UTF-8."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise ArgumentTypeError(f"'{one_line(word)}' is not UTF-8 text") from None
    return word
