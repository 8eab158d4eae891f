"""Run clip-video-encode for `extraction.py`, in the Python that has it, with random weights.

Each line of the input is JSON: paths of `videos`, the number `nth` (every nth picture is encoded)
and the `folder` of the results. A line is printed when the model is ready, and when a job is done.
One gigabyte is set aside for pictures; by default the extractor takes four.

A torchvision that was built for another torch has no compiled operators, and cannot be imported
without the names of two of them. Nothing here calls them.
"""

import contextlib
import json
import sys
from collections.abc import Callable
from functools import partialmethod
from importlib import import_module
from typing import Any


def extractor(threads: int) -> Any:
    """Import the extractor, and let it use one model, so that no job waits for it.

    Args:
        threads: threads of torch.

    Returns:
        The module with the function `clip_video_encode`.
    """
    import torch

    torch.set_num_threads(threads)
    try:
        import_module("torchvision")
    except RuntimeError:
        names = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            names.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        sys.modules["torchvision.names"] = names  # type: ignore[assignment]  # they end with it
    module: Any = import_module("clip_video_encode.clip_video_encode")
    made = module.open_clip.create_model_and_transforms("ViT-B-32", pretrained="")
    module.open_clip.create_model_and_transforms = lambda *names, **options: made
    module.FrameReader.release_memory = partialmethod(_release, module.FrameReader.release_memory)
    return module


def _release(reader: Any, release: Callable[[Any], None]) -> None:
    """Let go of the shared memory, whose name the process that reads has sometimes removed."""
    with contextlib.suppress(FileNotFoundError):
        release(reader)


def main() -> None:
    """Do the jobs of the input; the number of threads is the argument."""
    with contextlib.redirect_stdout(sys.stderr):
        module = extractor(int(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        with contextlib.redirect_stdout(sys.stderr):
            module.clip_video_encode(
                job["videos"], job["folder"], take_every_nth=job["nth"], frame_memory_size=1
            )
        print("done", flush=True)


if __name__ == "__main__":
    main()
