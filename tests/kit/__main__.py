"""The program's verbs with the weight-free encoder known as `statistics`.

python -m tests.kit extract data/film/videos -o features.hdf5 --encoder statistics
"""

import sys

from dreamprvr.cli.main import main
from dreamprvr.extraction.encoders import register
from tests.kit.statistics_encoder import StatisticsEncoder


def run(*arguments: str) -> None:
    """Run a verb in this process.

    Args:
        arguments: the words after `lightning`.

    Raises:
        SystemExit: of the verb, if it does not end well.
    """
    register(StatisticsEncoder.name, StatisticsEncoder)
    before = sys.argv
    sys.argv = ["lightning", *arguments]
    try:
        main()
    finally:
        sys.argv = before


if __name__ == "__main__":
    run(*sys.argv[1:])
