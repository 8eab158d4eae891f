"""What verbs share: types of options and arguments, which say what they take, and a line."""

from argparse import ArgumentTypeError
from collections.abc import Callable

from dreamprvr.core.text import one_line

STOPPED = "stopped; what is finished is kept, and the same command goes on from there"
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
