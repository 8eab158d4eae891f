import os
import sys
import threading
import time
from pathlib import Path

import pytest

from data_modules.readers.tables import write_tables
from dreamprvr.core.errors import UserError
from dreamprvr.extraction.encoders import load_encoder
from tests.kit import search_demo
from tests.kit.__main__ import run
from tests.kit.film_plan import plan_films
from tests.kit.films import annotations, split_names
from tests.kit.statistics_encoder import StatisticsEncoder


def test_questions_are_captions_of_test_films(tmp_path: Path) -> None:
    plans = plan_films(6, (5, 5))
    text = tmp_path / "film" / "TextData"
    text.mkdir(parents=True)
    write_tables(text, "film", annotations(plans, split_names(6, 1, 3), tmp_path))
    asked = search_demo.captions(tmp_path, 3)
    assert [film for _, film, _ in asked] == ["film03", "film04", "film05"]
    for sentence, film, (start, end) in asked:
        plan = next(plan for plan in plans if plan.name == film)
        shot = plan.events[plan.captions.index(sentence)]
        assert (start, end) == (shot.start, shot.end)


def test_the_newest_training_is_used(tmp_path: Path) -> None:
    for number, changed in ((0, 100), (1, 50)):
        path = tmp_path / f"version_{number}" / "checkpoints" / "best.ckpt"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (changed, changed))
    assert search_demo.newest_checkpoint(tmp_path).parts[-3] == "version_0"


def test_where_no_bar_is_shown_lines_say_how_far_a_command_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    assert search_demo.trained(runs) == "0 epochs done"
    (runs / "version_0").mkdir(parents=True)
    (runs / "version_0" / "metrics.csv").write_text("epoch,val/SumR\n0,1.0\n1,2.0\n")
    told = threading.Event()

    def how_far() -> str:
        told.set()
        return search_demo.trained(runs)

    monkeypatch.setattr(search_demo, "PAUSE", 0.01)
    monkeypatch.setattr(search_demo, "run", lambda *words: told.wait(60) and time.sleep(0.05))
    search_demo.say("fit", how_far=how_far)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["$ python -m tests.kit fit", "1 epochs done"]
    count = len(lines)
    time.sleep(0.05)
    assert len(capsys.readouterr().out.splitlines()) <= 1 < count


def test_a_missing_training_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training in"):
        search_demo.newest_checkpoint(tmp_path)


def test_no_display_opens_no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not search_demo.has_display()


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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_from_nothing_to_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # 3 films to train on; 5 epochs, since it validates in every fifth
    library = search_demo.build(tmp_path, films=9, events=(3, 4), epochs=5)
    search_demo.ask(tmp_path / "data", library, number=1)
    out = capsys.readouterr().out
    verbs = [line.split()[4] for line in out.splitlines() if line.startswith("$ python")]
    assert verbs == ["extract", "fit", "index", "search"]
    assert "(true: film" in out
