import sys

import pytest

from dreamprvr.extraction.encoders import load_encoder
from tests.kit.__main__ import run
from tests.kit.statistics_encoder import StatisticsEncoder


def test_a_verb_runs_in_this_process_and_knows_the_encoder(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = list(sys.argv)
    run("--help")
    assert "extract" in capsys.readouterr().out
    assert sys.argv == before
    assert isinstance(load_encoder("statistics", "cpu"), StatisticsEncoder)


def test_a_verb_that_fails_ends_the_program() -> None:
    before = list(sys.argv)
    with pytest.raises(SystemExit) as end:
        run("search", "no-library-here", "a red circle")
    assert end.value.code == 2
    assert sys.argv == before
