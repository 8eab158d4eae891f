"""The record of evaluations: one entry a key, nothing lost."""

import json
import subprocess
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.evaluation import record
from dreamprvr.evaluation.record import KEY, Origin, add_entry, origin, other_settings


def entry(sum_r: float = 1.0, **changes: Any) -> dict[str, Any]:
    key = {
        "data": "tvr", "root": "/data", "features": "standard", "split": "test",
        "labels": "single-00", "checkpoint": "checkpoints/best.ckpt", "settings": None,
    }  # fmt: skip
    return {**key, "SumR": sum_r, **changes}


def entries(folder: Path) -> list[dict[str, Any]]:
    content = json.loads((folder / "metrics.json").read_text())
    assert content["format"] == 2
    return list(content["results"])


@pytest.mark.parametrize("name", KEY)
def test_another_key_is_another_entry(tmp_path: Path, name: str) -> None:
    add_entry(tmp_path, entry())
    add_entry(tmp_path, entry(2.0, **{name: "other"}))
    assert entries(tmp_path) == [entry(), entry(2.0, **{name: "other"})]


def test_an_entry_replaces_the_one_with_the_same_key(tmp_path: Path) -> None:
    add_entry(tmp_path / "run", entry(1.0))
    add_entry(tmp_path / "run", entry(2.0, split="val"))
    assert add_entry(tmp_path / "run", entry(3.0)) == tmp_path / "run" / "metrics.json"
    assert entries(tmp_path / "run") == [entry(2.0, split="val"), entry(3.0)]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"metrics.json", ".lock"}


OLD = '{"R@1": 1.0, "SumR": 4.0}'


@pytest.mark.parametrize(
    "content",
    [
        OLD.encode(), b"", b"{", b"\xff\xfe", b"[]", b"3", b"[" * 100_000,
        b'{"format": 3, "results": []}', b'{"format": 2}', b'{"format": 2, "results": [1]}',
        b'{"format": 2, "results": [{"SumR": NaN}]}',
    ],
)  # fmt: skip
def test_a_file_that_is_no_record_is_renamed(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        (tmp_path / "metrics.json").write_bytes(content)
        add_entry(tmp_path, entry())
        assert entries(tmp_path) == [entry()]
        assert (tmp_path / f"metrics-old-{number}.json").read_bytes() == content
        assert f"it is now metrics-old-{number}.json" in capsys.readouterr().err


def test_a_huge_record_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "LARGEST", 10)
    (tmp_path / "metrics.json").write_text('{"format": 2, "results": []}')
    add_entry(tmp_path, entry())
    assert (tmp_path / "metrics-old-1.json").exists()


def _add(folder: Path, number: int) -> None:
    for split in range(10):
        add_entry(folder, entry(split=f"{number}-{split}"))


# Python from 3.12 warns of any fork while there are threads
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    context = get_context("fork")
    processes = [context.Process(target=_add, args=(tmp_path, number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    found = {one["split"] for one in entries(tmp_path)}
    assert found == {f"{number}-{split}" for number in range(3) for split in range(10)}


def test_a_folder_that_cannot_be_made_is_an_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^cannot write \S*file/metrics.json: File exists; "):
        add_entry(tmp_path / "file", entry())


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "other").write_text(OLD)
    (tmp_path / "run" / "metrics.json").symlink_to(tmp_path / "other")
    add_entry(tmp_path / "run", entry())
    assert entries(tmp_path / "run") == [entry()]
    assert (tmp_path / "other").read_text() == OLD
    assert (tmp_path / "run" / "metrics-old-1.json").is_symlink()


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        ({"hyper_parameters": {"seed": 3}, "epoch": 4, "global_step": 5}, Origin(3, 4, 5)),
        ({"hyper_parameters": {}, "epoch": "4"}, Origin(None, None, None)),
        ({"hyper_parameters": None, "global_step": 0}, Origin(None, None, 0)),
        ({}, Origin(None, None, None)),
    ],
)
def test_the_origin_of_weights(checkpoint: dict[str, Any], expected: Origin) -> None:
    assert origin(checkpoint) == expected


def test_the_settings_that_change_a_result() -> None:
    of = origin({"hyper_parameters": {"network": {"clip_weight": 0.6, "gaussian_widths": [1.0]}}})
    same = {"clip_weight": 0.6, "gaussian_widths": (1.0,), "of_a_later_version": 3}
    assert other_settings(of, same, precision=("32-true", "32-true")) is None
    found = other_settings(of, same | {"clip_weight": 0.1}, precision=("bf16-mixed", "32-true"))
    assert found == {"network.clip_weight": 0.1, "precision": "bf16-mixed"}
    assert other_settings(Origin(None, None, None), same) is None


def test_an_entry_of_an_earlier_version_had_no_settings(tmp_path: Path) -> None:
    earlier = {name: value for name, value in entry().items() if name != "settings"}
    add_entry(tmp_path, earlier | {"settings": None})
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"format": 2, "results": [earlier]}))
    add_entry(tmp_path, entry(2.0))
    assert entries(tmp_path) == [entry(2.0)]


def test_the_commit_is_of_our_own_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(record.__file__).parents[3]
    if (root / ".git").exists():
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        )
        assert str(record._commit()).removesuffix("-dirty") == found.stdout.strip()
    monkeypatch.setattr(record, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    assert record._commit() is None


def test_the_seed_of_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("7", 7), ("", None), ("x", None)):
        monkeypatch.setenv("PL_GLOBAL_SEED", value)
        assert record.set_seed() == expected
