"""Write features in the published "big file" format, for tests of its readers."""

from pathlib import Path

import numpy as np


def write_big_file(folder: Path, videos: dict[str, np.ndarray]) -> Path:
    """Write the rows of videos in reverse, so that their order comes from video2frames.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {video: [f"{video}_{i}" for i in range(len(rows))] for video, rows in videos.items()}
    matrix = np.concatenate(list(videos.values()))[::-1].astype("<f4")
    matrix.tofile(folder / "feature.bin")
    flat = [name for rows in names.values() for name in rows][::-1]
    (folder / "id.txt").write_bytes(" ".join(flat).encode("iso-8859-1"))
    (folder / "shape.txt").write_text(f"{matrix.shape[0]} {matrix.shape[1]}")
    (folder / "video2frames.txt").write_text(str(names), encoding="utf-8")
    return folder
