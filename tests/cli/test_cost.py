import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from cli.outcomes import tiny
from cli.running import write_config

from dreamprvr.cli import cost
from dreamprvr.cli.cost import Subject, main, measure
from dreamprvr.evaluation.gallery import Gallery
from dreamprvr.search.encoding import SearchModel


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path, epochs=30)


def test_every_cost_of_two_models_is_measured(tmp_path: Path) -> None:
    large = yaml.safe_load(Path("tiny.yaml").read_text())
    large["model"]["init_args"]["network"]["hidden_size"] = 64
    Path("large.yaml").write_text(yaml.safe_dump(large))
    costs = measure({"small": Path("tiny.yaml"), "large": Path("large.yaml")}, rounds=2)
    assert list(costs) == ["small", "large"]
    for found in costs.values():
        assert all(value is not None and value > 0 for value in found)
        assert max(found.step, found.encode, found.query) < 10  # seconds
    assert costs["large"].parameters > 4 * costs["small"].parameters
    assert costs["large"].stored == 8 * costs["small"].stored


def test_stored_bytes_are_those_of_a_librarys_vectors() -> None:
    subject = Subject(Path("tiny.yaml"))
    data, model = tiny(), SearchModel(subject.model)
    store, names = data.video_features(), data.annotations("test").videos["video_id"]
    encoded = model.encode_videos([store.load(name) for name in names])
    arrays = [[*one.tokens.values(), *one.extras.values()] for one in encoded]
    sizes = [sum(a.astype(np.float16).nbytes for a in of_one) for of_one in arrays]
    assert subject.stored() == np.mean(sizes)


def test_a_model_that_no_library_can_keep_has_no_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise cost.UserError("tokens of several sizes")

    monkeypatch.setattr(cost, "SearchModel", refuse)
    assert Subject(Path("tiny.yaml")).stored() is None


def test_a_query_is_scored_against_all_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    scores = Gallery.scores
    monkeypatch.setattr(Gallery, "scores", lambda s, q: seen.append(scores(s, q)) or seen[-1])
    subject = Subject(Path("tiny.yaml"))
    assert len(subject.videos.row) == 3  # the gallery of four is made of these
    subject.query()
    assert seen[0].shape == (len(subject.queries.row), 4)


def test_a_step_trains_with_the_loss_of_the_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(Path("tiny.yaml"))
    epochs = []
    losses = subject.model.losses
    monkeypatch.setattr(
        type(subject.model), "losses", lambda _, b, epoch: epochs.append(epoch) or losses(b, epoch)
    )
    before = [p.detach().clone() for p in subject.model.parameters()]
    subject.step()
    assert epochs == [29]
    pairs = zip(before, subject.model.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_all_models_meet_the_same_videos() -> None:
    first, second = (Subject(Path("tiny.yaml")).batch for _ in range(2))
    assert torch.equal(first.videos.row, second.videos.row)


def test_the_program_writes_what_it_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "ROUNDS", 1)
    monkeypatch.setattr(sys, "argv", ["cost", ".", "tiny"])
    main()
    content = json.loads(Path("cost.json").read_text())
    assert content["models"]["tiny"]["parameters"] > 0
    assert content["machine"]["threads"] == torch.get_num_threads()
    Path("tiny.yaml").write_text("data: {class_path: Nothing}")
    with pytest.raises(SystemExit, match=r"^error: there is no data set 'Nothing'"):
        main()
