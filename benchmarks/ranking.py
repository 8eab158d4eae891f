"""Seconds and memory of scoring and ranking on the CPU, at ActivityNet's size, random tokens.

    python -m benchmarks.ranking [--videos N] [--queries N] [--baseline_queries N] [--rounds N]
    python -m benchmarks.ranking --videos 50000 --queries 2000 [--dtype float16]

Videos and queries are encoded already. The baseline takes 50 queries at a time, normalises the
whole gallery for them, sorts every row and looks where the true video is; it and the product take
turns on a sample of the queries. All queries, and the memory that they need beyond the gallery, are
measured on the product in a fresh process. A gallery that does not fit into memory three times
leaves no room for the baseline: then the product alone is measured.
"""

import argparse
import os
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from benchmarks.baseline import evaluation
from benchmarks.baseline.network import Baseline
from benchmarks.measuring import (
    Ratio,
    in_fresh_process,
    interleave,
    machine,
    parser,
    peak_growth,
    positive,
    publish,
    ratio,
    use_threads,
)
from dreamprvr.core.batch import Queries
from dreamprvr.evaluation.gallery import Gallery, GalleryDtype
from dreamprvr.evaluation.metrics import RetrievalRecall
from dreamprvr.models.dreamprvr.config import DreamPRVRConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR
from dreamprvr.models.encoded import EncodedQueries, EncodedVideos, QueryRows, Scale

PART = 100  # videos encoded at once, as in the data modules
QUERY_BATCH = 1000  # as there
CONFIG = DreamPRVRConfig()  # ActivityNet's: 32 clips and 128 frames of size 384


class EmbeddedQueries(DreamPRVR):
    """A network for queries that are embedded already: `words` (Q, 1, D) are the embeddings."""

    def __init__(self, config: DreamPRVRConfig = CONFIG) -> None:
        super().__init__(2, 2, config)

    def encode_queries(self, words: Tensor, word_mask: Tensor) -> EncodedQueries:
        """Take the words as the one row of each query."""
        rows = QueryRows(words, words.new_ones(len(words), 1))
        return EncodedQueries(words[:, 0], {name: rows for name in self.scales}, {})


def token_parts(
    videos: int, device: str = "cpu", config: DreamPRVRConfig = CONFIG
) -> Iterator[tuple[Tensor, EncodedVideos]]:
    """Yield the rows and random tokens, not normalised, of some videos at a time."""
    random = torch.Generator(device).manual_seed(0)
    for start in range(0, videos, PART):
        count = min(PART, videos - start)
        clips, frames = (
            torch.randn(count, length, config.hidden_size, generator=random, device=device)
            for length in (config.num_clips, config.max_frames)
        )
        rows = torch.arange(start, start + count, device=device)
        yield rows, EncodedVideos({"clips": Scale(clips), "frames": Scale(frames)}, {})


def gallery(
    videos: int,
    dtype: GalleryDtype = "float32",
    device: str = "cpu",
    config: DreamPRVRConfig = CONFIG,
) -> Gallery:
    """Make the product's gallery of random tokens; never holds more than one part twice."""
    network = EmbeddedQueries(config).to(device).eval()
    made = Gallery(network, dtype)
    for rows, tokens in token_parts(videos, device, config):
        made.add_encoded(rows, tokens, torch.full_like(rows, config.max_frames))
    return made


def embedded(
    count: int, videos: int, device: str = "cpu", config: DreamPRVRConfig = CONFIG
) -> Queries:
    """Make random queries, each with one random true video."""
    random = torch.Generator(device).manual_seed(1)
    words = torch.randn(count, 1, config.hidden_size, generator=random, device=device)
    true = torch.randint(videos, (count, 1), generator=random, device=device)
    return Queries(torch.arange(count, device=device), words, torch.ones_like(words[..., 0]), true)


@torch.no_grad()
def rank_product(asked: Gallery, queries: Queries) -> RetrievalRecall:
    """Rank every query, as the LightningModule does with the batches of its loader."""
    recall = RetrievalRecall()
    for start in range(0, len(queries.row), QUERY_BATCH):
        batch = Queries(*(part[start : start + QUERY_BATCH] for part in queries))
        for block in asked.blocks(batch):
            recall.update(asked.scores(block), asked.positions(block.positives), block.row)
    return recall


@torch.no_grad()
def rank_baseline(network: Baseline, tokens: tuple[Tensor, Tensor], queries: Queries) -> list[int]:
    """Rank each query; `tokens` are clips and frames of the gallery, not normalised."""
    blocks = [
        network.scores(words[:, 0], *tokens) for words in queries.words.split(evaluation.BLOCK)
    ]
    positives = [set(rows) for rows in queries.positives.tolist()]
    return evaluation.ranks(torch.cat(blocks), positives)


def whole_run(threads: int, videos: int, count: int, dtype: GalleryDtype) -> dict[str, Any]:
    """Rank all queries by the product; call this in a fresh process."""
    use_threads(threads)
    asked, queries = gallery(videos, dtype), embedded(count, videos)
    # asked before memory is measured: rows are sorted once, and are part of the gallery
    assert len(asked.rows) == videos
    found = peak_growth(lambda: rank_product(asked, queries).compute())
    return {"seconds": found.seconds, "peak_bytes": found.peak_bytes, "recall": found.result}


def compare(videos: int, count: int, dtype: GalleryDtype, rounds: int) -> dict[str, Any]:
    """Measure both on a sample of queries: seconds, their ratio, and the share of equal ranks."""
    queries, asked = embedded(count, videos), gallery(videos, dtype)
    parts = [encoded.scales for _, encoded in token_parts(videos)]
    clips, frames = (torch.cat([p[name].tokens for p in parts]) for name in ("clips", "frames"))
    tokens = (clips, frames)
    del parts
    network = Baseline(2, 2, CONFIG).eval()
    ways = {
        "baseline": lambda: rank_baseline(network, tokens, queries),
        "product": lambda: rank_product(asked, queries),
    }
    taken = interleave(ways, rounds)
    theirs = torch.tensor(rank_baseline(network, tokens, queries))
    rank = rank_product(asked, queries).rank
    equal = (torch.cat(list(rank)) == theirs).double().mean().item()
    return {"seconds": taken, "ratio": ratio(**taken)._asdict(), "equal_ranks": equal}


def baseline_fits(videos: int) -> bool:
    """Return whether tokens, their normalised copy and the product's gallery fit into memory."""
    if not hasattr(os, "sysconf"):
        return True
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    tokens = CONFIG.num_clips + CONFIG.max_frames
    return 3 * 4 * videos * tokens * CONFIG.hidden_size < 0.9 * memory


def rows(chosen: argparse.Namespace, whole: Any, sample: Any) -> list[dict[str, Any]]:
    """Make the rows of the table: both ways on the sample of queries, and the whole run."""
    lines = []
    for way, taken in (sample["seconds"] if sample else {}).items():
        count, spread = min(chosen.baseline_queries, chosen.queries), Ratio(**sample["ratio"])
        middle = statistics.median(taken)
        lines.append((way, count, middle, spread if way == "product" else None, None))
    lines.append(("product", chosen.queries, whole["seconds"], None, whole["peak_bytes"] / 1e6))
    return [
        {
            "rank": way, "videos": chosen.videos, "queries": count, "seconds": middle,
            "queries a second": count / middle, "x baseline": spread and str(spread),
            "peak MB beyond gallery": peak,
        }
        for way, count, middle, spread, peak in lines
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(__doc__, "ranking", rounds=5)
    options.add_argument("--videos", type=positive, default=4430)
    options.add_argument("--queries", type=positive, default=15753)
    options.add_argument("--baseline_queries", type=positive, default=1000, help="the sample")
    options.add_argument("--product_only", action="store_true", help="leave the baseline out")
    options.add_argument("--dtype", choices=get_args(GalleryDtype), default="float32")
    chosen = options.parse_args(arguments)
    use_threads(chosen.threads)
    described = machine()
    size = (chosen.videos, chosen.queries, chosen.dtype)
    whole = in_fresh_process(whole_run, torch.get_num_threads(), *size)
    sample = None
    if not chosen.product_only and baseline_fits(chosen.videos):
        count = min(chosen.baseline_queries, chosen.queries)
        sample = compare(chosen.videos, count, chosen.dtype, chosen.rounds)
    elif chosen.output == options.get_default("output"):  # the comparison's figures stay
        name = f"ranking_{chosen.videos}_{chosen.dtype}.json"
        chosen.output = chosen.output.with_name(name)
    names = ("videos", "queries", "baseline_queries", "dtype", "rounds")
    sizes = {name: getattr(chosen, name) for name in names}
    lines = rows(chosen, whole, sample)
    publish(chosen.output, described, lines, sizes=sizes, whole=whole, sample=sample)


if __name__ == "__main__":
    main()
