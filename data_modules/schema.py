"""The inner schema that every benchmark is brought to (times in seconds, ids always strings)."""

import hashlib
from dataclasses import dataclass

import pandas as pd

from dreamprvr.core.errors import UserError

VIDEO_COLUMNS = ["video_id", "duration", "split", "path"]
QUERY_COLUMNS = ["query_id", "video_ids", "text", "moments", "split"]


@dataclass(frozen=True)
class Annotations:
    """The two tables of a benchmark.

    Attributes:
        videos: one row a video: `video_id` (str), `duration` in seconds (float, NaN if unknown),
            `split` (str), `path` of the video file (str, "" if unknown).
        queries: one row a caption: `query_id` (str), `video_ids` (tuple of the true videos, at
            least one), `text` (str), `moments` (tuple of (start, end) in seconds, () if
            unknown), `split` (str).
    """

    videos: pd.DataFrame
    queries: pd.DataFrame

    def __post_init__(self) -> None:
        for table, columns in ((self.videos, VIDEO_COLUMNS), (self.queries, QUERY_COLUMNS)):
            if list(table.columns) != columns:
                raise UserError(
                    f"annotation table has columns {list(table.columns)}, not {columns}"
                )

    def labels(self) -> str:
        """Return a name for what counts as true: equal for equal videos, captions and true videos.

        It starts with `multi` where a caption has several true videos, else with `single`.
        """
        digest = hashlib.blake2b(digest_size=8)
        for name in self.videos["video_id"]:
            digest.update(f"{name}\n".encode("utf-8", "surrogatepass"))
        true = self.queries["video_ids"]
        for query, videos in zip(self.queries["query_id"], true, strict=True):
            line = "\t".join((query, *videos))
            digest.update(f"{line}\n".encode("utf-8", "surrogatepass"))
        kind = "multi" if (true.map(len) > 1).any() else "single"
        return f"{kind}-{digest.hexdigest()}"

    def split(self, name: str) -> "Annotations":
        """The rows of one split, numbered from 0."""
        return Annotations(
            *(t[t["split"] == name].reset_index(drop=True) for t in (self.videos, self.queries))
        )
