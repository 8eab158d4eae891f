"""Compare scoring and ranking of product and baseline on the CPU, at ActivityNet's size.

    python -m benchmarks.ranking [--videos N] [--queries N] [--baseline_queries N] [--rounds N]
    python -m benchmarks.ranking --videos 50000 --queries 2000 [--dtype float16]

Tokens and encoded queries are random. The baseline takes 50 queries at a time, normalises the whole
gallery for them, sorts the scores and looks up the true videos. Both take turns on a sample of the
queries. Then the product ranks all queries in a fresh process, which measures its memory beyond the
gallery. The baseline is left out if the gallery does not fit into memory three times.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor

from benchmarks.baseline import evaluation
from benchmarks.baseline.network import Baseline
from benchmarks.measuring import (
    begin,
    comparison,
    in_fresh_process,
    interleave,
    parser,
    peak_growth,
    publish,
    use_threads,
)
from dreamprvr.core.batch import Queries
from dreamprvr.evaluation.gallery import Gallery, GalleryDtype
from dreamprvr.evaluation.metrics import RetrievalRecall
from dreamprvr.models.dreamprvr.config import DreamPRVRConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR
from dreamprvr.models.encoded import EncodedQueries, EncodedVideos, QueryRows, Scale

PART = 100  # videos encoded at once, as in the data modules
QUERY_BATCH = 1000  # queries ranked at once, as in the data modules
CONFIG = DreamPRVRConfig()  # ActivityNet's: 32 clips and 128 frames of size 384


class EmbeddedQueries(DreamPRVR):
    """A network for encoded queries: `words` (Q, 1, D) are their embeddings."""

    def __init__(self, config: DreamPRVRConfig = CONFIG) -> None:
        super().__init__(2, 2, config)

    def encode_queries(self, words: Tensor, word_mask: Tensor) -> EncodedQueries:
        """Use the words as the one row of each query."""
        rows = QueryRows(words, words.new_ones(len(words), 1))
        return EncodedQueries(words[:, 0], {name: rows for name in self.scales}, {})


def token_parts(
    videos: int, device: str = "cpu", config: DreamPRVRConfig = CONFIG
) -> Iterator[tuple[Tensor, EncodedVideos]]:
    """Yield the rows and random tokens of a few videos at a time, not normalised."""
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
    """Make the product's gallery of random tokens, one part at a time to save memory."""
    filled = Gallery(EmbeddedQueries(config).to(device).eval(), dtype)
    for rows, tokens in token_parts(videos, device, config):
        filled.add_encoded(rows, tokens, torch.full_like(rows, config.max_frames))
    return filled


def embedded(
    count: int, videos: int, device: str = "cpu", config: DreamPRVRConfig = CONFIG
) -> Queries:
    """Make random queries, each with one random true video."""
    random = torch.Generator(device).manual_seed(1)
    words = torch.randn(count, 1, config.hidden_size, generator=random, device=device)
    true = torch.randint(videos, (count, 1), generator=random, device=device)
    return Queries(torch.arange(count, device=device), words, torch.ones_like(words[..., 0]), true)


@torch.no_grad()
def rank_product(videos: Gallery, queries: Queries) -> RetrievalRecall:
    """Rank every query, as the LightningModule does with the batches of its loader."""
    recall = RetrievalRecall()
    for start in range(0, len(queries.row), QUERY_BATCH):
        batch = Queries(*(part[start : start + QUERY_BATCH] for part in queries))
        for block in videos.blocks(batch):
            recall.update(videos.scores(block), videos.positions(block.positives), block.row)
    return recall


@torch.no_grad()
def rank_baseline(network: Baseline, tokens: tuple[Tensor, Tensor], queries: Queries) -> list[int]:
    """Rank each query against clips and frames of the gallery (`tokens`), not normalised."""
    blocks = [
        network.scores(words[:, 0], *tokens) for words in queries.words.split(evaluation.BLOCK)
    ]
    positives = [set(rows) for rows in queries.positives.tolist()]
    return evaluation.ranks(torch.cat(blocks), positives)


def whole_run(threads: int, videos: int, count: int, dtype: GalleryDtype) -> dict[str, Any]:
    """Rank all queries by the product; call this in a fresh process."""
    use_threads(threads)
    filled, queries = gallery(videos, dtype), embedded(count, videos)
    # the first access sorts the rows; they are part of the gallery, so do it before measuring
    assert len(filled.rows) == videos
    measured = peak_growth(lambda: rank_product(filled, queries).compute())
    return measured._asdict()


def compare(videos: int, count: int, dtype: GalleryDtype, rounds: int) -> dict[str, Any]:
    """Measure both on a sample of queries: the seconds, and the share of equal ranks."""
    queries, product = embedded(count, videos), gallery(videos, dtype)
    parts = [encoded.scales for _, encoded in token_parts(videos)]
    clips, frames = (torch.cat([p[name].tokens for p in parts]) for name in ("clips", "frames"))
    del parts
    network = Baseline(2, 2, CONFIG).eval()
    ways: dict[str, Callable[[], object]] = {
        "baseline": partial(rank_baseline, network, (clips, frames), queries),
        "product": partial(rank_product, product, queries),
    }
    taken = interleave(ways, rounds)
    baseline_ranks = torch.tensor(rank_baseline(network, (clips, frames), queries))
    product_ranks = torch.cat(list(rank_product(product, queries).rank))
    return {
        "seconds": taken, "equal_ranks": (product_ranks == baseline_ranks).double().mean().item()
    }  # fmt: skip


def baseline_fits(videos: int) -> bool:
    """Return whether tokens, their normalised copy and the product's gallery fit into memory."""
    if not hasattr(os, "sysconf"):
        return True
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    tokens = CONFIG.num_clips + CONFIG.max_frames
    return 3 * 4 * videos * tokens * CONFIG.hidden_size < 0.9 * memory


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(
        __doc__, "ranking", rounds=5, videos=4430, queries=15753, baseline_queries=1000
    )
    options.add_argument("--product_only", action="store_true", help="leave the baseline out")
    options.add_argument("--dtype", choices=get_args(GalleryDtype), default="float32")
    args = begin(options, arguments)
    size = (args.videos, args.queries, args.dtype)
    whole = in_fresh_process(whole_run, torch.get_num_threads(), *size)
    sample, cells = None, {}
    count = min(args.baseline_queries, args.queries)
    if not args.product_only and baseline_fits(args.videos):
        sample = compare(args.videos, count, args.dtype, args.rounds)
        cells = comparison(sample["seconds"])
    elif args.output == options.get_default("output"):  # keep the file of the comparison
        args.output = args.output.with_name(f"ranking_{args.videos}_{args.dtype}.json")
    rows = [
        {"rank": way, "queries": count, **own, "queries a second": count / own["seconds"],
         "peak MB beyond gallery": None}
        for way, own in cells.items()
    ]  # fmt: skip
    rows.append({
        "rank": "product", "queries": args.queries, "seconds": whole["seconds"],
        "x baseline": None, "queries a second": args.queries / whole["seconds"],
        "peak MB beyond gallery": whole["peak_bytes"] / 1e6,
    })  # fmt: skip
    publish(args, rows, whole=whole, sample=sample)


if __name__ == "__main__":
    main()
