import json
import subprocess
import sys
from pathlib import Path

from benchmarks import public_extractor

OPEN_CLIP = """
def create_model_and_transforms(name, pretrained):
    print("a message")
    return name, pretrained
"""
MODULE = """
import json
import open_clip
class FrameReader:
    def release_memory(self):
        raise FileNotFoundError
def clip_video_encode(videos, folder, take_every_nth, frame_memory_size):
    FrameReader().release_memory()
    made = open_clip.create_model_and_transforms("another", pretrained="fetched")
    with open(folder, "a") as file:
        print(json.dumps([videos, take_every_nth, made]), file=file)
"""


def test_jobs_are_done_with_one_model_of_random_weights(tmp_path: Path) -> None:
    package = tmp_path / "clip_video_encode"
    package.mkdir()
    (package / "__init__.py").write_text("from .clip_video_encode import clip_video_encode")
    (package / "clip_video_encode.py").write_text(MODULE)
    (tmp_path / "open_clip.py").write_text(OPEN_CLIP)
    (tmp_path / "torchvision.py").write_text("")
    jobs = [{"videos": ["a"], "folder": str(tmp_path / "rows"), "nth": nth} for nth in (3, 5)]
    done = subprocess.run(
        [sys.executable, public_extractor.__file__, "1"],
        capture_output=True, text=True, check=True,
        input="".join(json.dumps(job) + "\n" for job in jobs),
        env={"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.split() == ["ready", "done", "done"]
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert rows == [[["a"], nth, ["ViT-B-32", ""]] for nth in (3, 5)]
