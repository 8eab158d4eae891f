"""Is a search right about how sure it is? Asked of the library of the generated films.

    python -m tests.kit.strengths DATA LIBRARY

asks every test caption of the films in `DATA/film`, and as many sentences that no film shows, and
prints how many of each are called strong, fair and weak. The sentences have everyday words, and
none of those of the background or of the captions.
"""

import argparse
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from data_modules.readers.tables import read_tables
from dreamprvr.extraction.encoders import register
from dreamprvr.search.library import Library
from tests.kit.films import COLLECTION
from tests.kit.statistics_encoder import StatisticsEncoder

LEVELS = ("strong", "fair", "weak")
WHO = ("some children", "my uncle", "our dog", "an old farmer", "her sister", "every tourist")
DOES = ("cooks", "throws", "paints", "feeds", "carries", "opens", "washes", "sings about", "kicks")
WHAT = ("pasta", "his bicycle", "seven chickens", "that window", "some wine", "an umbrella", "hay")
WHERE = ("near Paris", "at breakfast", "behind our garage", "during lunch", "with friends", "")


def untrue(count: int) -> list[str]:
    """Make sentences that no film shows; the same ones each time."""
    draw = random.Random(7)
    kinds = (WHO, DOES, WHAT, WHERE)
    return [" ".join(draw.choice(kind) for kind in kinds).strip() for _ in range(count)]


def shares(library: Library, texts: Iterable[str]) -> dict[str, float]:
    """Search for sentences, and return the share in % that is called each level."""
    found = Counter(library.search(text, k=1).strength for text in texts)
    return {level: 100 * found[level] / found.total() for level in LEVELS}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.kit.strengths", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("library", type=Path)
    options = parser.parse_args()
    register(StatisticsEncoder.name, StatisticsEncoder)
    tables = read_tables(options.data / COLLECTION / "TextData", COLLECTION)
    captions = [row.text for row in tables.split("test").queries.itertuples(index=False)]
    print(f"{'':28}" + "".join(f"{level:>9}" for level in LEVELS))
    with Library.open(options.library, "cpu") as library:
        for name, texts in (("true captions", captions), ("untrue", untrue(len(captions)))):
            found = shares(library, texts)
            line = "".join(f"{found[level]:8.1f}%" for level in LEVELS)
            print(f"{len(texts):5} {name:22}{line}")


if __name__ == "__main__":
    main()
