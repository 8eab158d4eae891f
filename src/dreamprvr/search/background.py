"""The background of a library: how well sentences score that have nothing to do with its videos.

A score alone says little: one library gives its true sentences 0.3, another one 0.9. So a fixed set
of made-up sentences is searched once in each library, and the best score of each is kept. A search
is sure if its own best score lies above nearly all of these. docs/search.md has the figures.
"""

import json
import math
import random
from bisect import bisect_left
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import read_regular, write_text
from dreamprvr.core.text import number
from dreamprvr.search.manifest import BACKGROUND

Strength = Literal["strong", "fair", "weak"]
SENTENCES = 99  # so that a random sentence is better than all of them in one case of a hundred
STRONG, FAIR = 0.99, 0.95  # least shares of the background that a best score must exceed
FORMAT = 1  # to be raised when the sentences change
LIMIT = 1_000_000  # bytes of the file
_FACTS = ("format", "kind", "videos")

WHO = (
    "a lawyer", "the old judge", "a sleepy accountant", "nobody", "the moon", "a tired printer",
    "my neighbour", "the committee", "an honest number", "a forgotten law", "the weather report",
    "a patient dentist", "an empty promise", "the tax office", "a distant galaxy", "her memory",
)  # fmt: skip
DOES = (
    "forgets", "explains", "signs", "repairs", "counts", "delays", "remembers", "measures",
    "refuses", "borrows", "translates", "cancels", "describes", "doubts", "invents", "postpones",
)  # fmt: skip
WHAT = (
    "the contract", "a theory of prices", "yesterday", "an old password", "the long division",
    "a rumour", "the third chapter", "a quiet opinion", "the missing invoice", "an idea",
    "the speed of light", "a rule of grammar", "the annual budget", "some gossip", "a proverb",
    "the alphabet",
)  # fmt: skip
HOW = (
    "in silence", "without a reason", "on paper", "for the second time", "in the passive voice",
    "before the deadline", "by mistake", "in theory", "with great patience", "once a century",
)  # fmt: skip
SYLLABLES = ("bra", "lun", "ti", "mok", "fes", "ar", "dul", "zin", "po", "ket", "sha", "ren", "vu")


def sentences(count: int = SENTENCES) -> list[str]:
    """Make the sentences of the background; the same ones on every machine.

    A third are whole sentences, a third are words in any order, a third are words that do not
    exist. Sentences have up to a dozen words, as those of users.

    Args:
        count: number of sentences.
    """
    draw = random.Random(FORMAT)
    words = " ".join((*WHO, *DOES, *WHAT, *HOW)).split()
    made = []
    for place in range(count):
        if place % 3 == 0:
            parts = [draw.choice(kind) for kind in (WHO, DOES, WHAT, HOW)]
        elif place % 3 == 1:
            parts = draw.sample(words, draw.randint(2, 9))
        else:
            parts = [
                "".join(draw.choices(SYLLABLES, k=draw.randint(1, 4)))
                for _ in range(draw.randint(1, 7))
            ]
        made.append(" ".join(parts))
    return made


@dataclass(frozen=True)
class Level:
    """Scores of the background's sentences, ascending; at least one."""

    scores: tuple[float, ...]

    @property
    def middle(self) -> float:
        """Return the median: what a sentence scores that no video shows."""
        return self.scores[len(self.scores) // 2]

    @property
    def bound(self) -> float:
        """Return the score above which a match is strong."""
        return self.scores[math.ceil(STRONG * len(self.scores)) - 1]

    def share_below(self, score: float) -> float:
        """Return the share of the sentences whose best score is lower than a score, 0 to 1."""
        return bisect_left(self.scores, score) / len(self.scores)


@dataclass(frozen=True)
class Background:
    """The best scores of the background's sentences in a library.

    Args:
        videos: score of the best video of each sentence.
        moments: highest score over time in that video; a model of several scales gives a lower
            one here, as its best tokens may lie at different seconds.
    """

    videos: Level
    moments: Level


def strength_of(share: float) -> Strength:
    """Say how sure a search is.

    Args:
        share: share of the background that scores lower.
    """
    return "strong" if share >= STRONG else "fair" if share >= FAIR else "weak"


class BackgroundFile:
    """The file of a library's background.

    Args:
        folder: folder of the library.
        kind: words for what decides scores: the model, the encoder, and the state of the videos.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.path, self.kind = folder / BACKGROUND, kind

    def read(self, videos: int) -> Background | None:
        """Read the background.

        Args:
            videos: number of videos of the library.

        Returns:
            The background; None if there is none of these videos, or the file is damaged.
        """
        try:
            content = json.loads(read_regular(self.path, LIMIT))
            if [content[name] for name in _FACTS] != [FORMAT, self.kind, videos]:
                return None
            return Background(*(_level(content["scores"][name]) for name in ("videos", "moments")))
        except (OSError, UserError, ValueError, LookupError, TypeError, RecursionError):
            return None

    def write(self, background: Background, videos: int) -> None:
        """Write the background; if that fails, the next process makes it again.

        Args:
            background: the background.
            videos: number of videos of the library.
        """
        scores = {"videos": background.videos.scores, "moments": background.moments.scores}
        facts = zip(_FACTS, (FORMAT, self.kind, videos), strict=True)
        content = {**dict(facts), "scores": scores}
        with suppress(UserError):
            write_text(self.path, json.dumps(content))


def _level(scores: object) -> Level:
    """Read scores of the file; raise a ValueError unless they are numbers."""
    numbers = [number(score) for score in scores] if isinstance(scores, list) else []
    plain = sorted(score for score in numbers if score is not None)
    if not plain or len(plain) < len(numbers):
        raise ValueError
    return Level(tuple(plain))
