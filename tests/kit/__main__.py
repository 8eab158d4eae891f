"""The command `lightning` with the encoder `statistics` added.

python -m tests.kit extract data/film/videos -o features.hdf5 --encoder statistics
"""

import sys

from dreamprvr.cli.main import main
from dreamprvr.extraction.encoders import register
from tests.kit.statistics_encoder import StatisticsEncoder


def run(*arguments: str) -> None:
    """Run `lightning` in this process.

    Args:
        arguments: words of the command line after `lightning`.

    Raises:
        SystemExit: the command failed.
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
