import math
from pathlib import Path

import pandas as pd
import pytest
from cli.outcomes import CONFIG, answers, best, read_lines, tiny
from cli.running import refused, run

from dreamprvr.training.module import PRVRModule


def test_predict_lines(trained: Path) -> None:
    result = run("predict", *CONFIG, "--ckpt_path", best(trained), "--output", "out/hits.jsonl")
    assert result.code == 0, result
    assert "written to out/hits.jsonl" in result.out
    assert [path.name for path in Path("out").iterdir()] == ["hits.jsonl"]
    lines = read_lines(Path("out/hits.jsonl"))
    module = PRVRModule.load_from_checkpoint(best(trained))
    scores, queries, videos = answers(tiny(), module.network)
    assert [line["query_id"] for line in lines] == queries
    assert len({line["rank"] for line in lines}) > 1
    for line, row in zip(lines, scores, strict=True):
        hits = line["hits"]
        (true,) = line["video_ids"]
        assert line["query_id"].startswith(f"{true}#enc#")
        others = row[[place for place in range(len(videos)) if videos[place] != true]]
        assert line["rank"] == 1 + int((others >= row[videos.index(true)]).sum())
        assert line["ranks"] == [line["rank"]]
        assert [hit["video_id"] == true for hit in hits] == [hit["true"] for hit in hits]
        values = [hit["score"] for hit in hits]
        assert values == sorted(values, reverse=True)
        assert hits[0]["video_id"] == videos[int(row.argmax())]
        assert {hit["video_id"] for hit in hits} == set(videos)
        for hit in hits:
            place = videos.index(hit["video_id"])
            assert hit["score"] == pytest.approx(float(row[place]), abs=1e-5)
            assert 0 <= hit["clip"] < 4
            assert 0 <= hit["frame"] < 8
            if place:
                assert 0 <= hit["start"] < hit["end"] <= 10.0 * place
            else:
                assert set(hit) == {"video_id", "score", "true", "clip", "frame"}


def test_predict_parquet_holds_the_same_and_top_k_is_respected(trained: Path) -> None:
    shared = ("predict", *CONFIG, "--ckpt_path", best(trained), "--top_k", "2", "--output")
    assert run(*shared, "hits.parquet").code == 0
    assert run(*shared, "hits.jsonl").code == 0
    lines = read_lines(Path("hits.jsonl"))
    table = pd.read_parquet("hits.parquet")
    assert list(table) == ["query_id", "video_ids", "rank", "ranks", "hits"]
    assert table["rank"].tolist() == [line["rank"] for line in lines]
    assert max(table["rank"]) > 2  # beyond the hits
    assert [list(true) for true in table["video_ids"]] == [line["video_ids"] for line in lines]
    assert table["query_id"].tolist() == [line["query_id"] for line in lines]
    for hits, line in zip(table["hits"], lines, strict=True):
        assert len(hits) == len(line["hits"]) == 2
        for ours, theirs in zip(hits, line["hits"], strict=True):
            for key in ("video_id", "true", "clip", "frame"):
                assert ours[key] == theirs[key]
            assert ours["score"] == pytest.approx(theirs["score"], abs=1e-6)
            if "start" in theirs:
                assert (ours["start"], ours["end"]) == (theirs["start"], theirs["end"])
            else:
                assert ours["start"] is None or math.isnan(ours["start"])


@pytest.mark.parametrize("top_k", ["0", "-1"])
def test_predict_refuses_to_give_no_videos(trained: Path, top_k: str) -> None:
    line = refused("predict", *CONFIG, "--ckpt_path", best(trained), "--top_k", top_k)
    assert line == f"training.top_k is {top_k}; at least 1 video a query"
    assert not Path("predictions.jsonl").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("limit_predict_batches=1", "only 3 of 4 videos would be searched"),
        ("fast_dev_run=true", "only 3 of 4 videos would be searched"),
        ("limit_predict_batches=0", "trainer.limit_predict_batches is 0"),
    ],
)
def test_predict_refuses_a_part_of_the_split(trained: Path, option: str, said: str) -> None:
    Path("predictions.jsonl").write_text("of an earlier run")
    line = refused("predict", *CONFIG, "--ckpt_path", best(trained), f"--trainer.{option}")
    assert said in line
    assert Path("predictions.jsonl").read_text() == "of an earlier run"
    assert not list(Path().glob(".*.partial"))


def test_predict_refuses_another_suffix(trained: Path) -> None:
    line = refused("predict", *CONFIG, "--ckpt_path", best(trained), "--output", "hits.csv")
    assert ".jsonl or .parquet" in line
    assert not Path("hits.csv").exists()


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("here", "--output here.jsonl is a folder: name a file in it"),
        ("file/hits", "cannot write file/hits.jsonl: "),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_checkpoint_is_read(
    trained: Path, output: str, said: str
) -> None:
    Path("here.jsonl").mkdir()
    Path("file").touch()
    line = refused("predict", *CONFIG, "--ckpt_path", "none.ckpt", "--output", f"{output}.jsonl")
    assert line.startswith(said)
