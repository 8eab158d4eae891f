"""One training forward pass: from a batch to what the objective sees. Plain torch."""

import torch
from torch import Tensor

from dreamprvr.batch import TrainBatch
from dreamprvr.model.layers import full
from dreamprvr.model.network import DreamPRVR
from dreamprvr.objective.objective import Encoded


def mean_per_video(query: Tensor, labels: Tensor, num_videos: int) -> Tensor:
    """m, the mean of the embeddings of each video's queries (model.md, section 4.6).

    Args:
        query: (Q, D).
        labels: (Q,), the video of each query; every video has at least one.
        num_videos: B.

    Returns:
        (B, D).
    """
    query = full(query)
    total = query.new_zeros(num_videos, query.shape[1]).index_add(0, labels, query)
    # not bincount, which reads its result's size on the host
    count = query.new_zeros(num_videos).index_add(0, labels, torch.ones_like(query[:, 0]))
    return total / count[:, None]


def encode_batch(network: DreamPRVR, batch: TrainBatch) -> Encoded:
    """Encode the videos and queries of a batch, and the registers' textual targets."""
    query = network.encode_queries(batch.queries.words, batch.queries.word_mask)
    videos = batch.videos
    encoding = network.encode_videos(videos.clips, videos.frames, videos.frame_mask)
    target = None
    if network.register_sampler is not None and encoding.registers is not None:
        text = mean_per_video(query, batch.labels, len(videos.clips))
        target = network.register_sampler.diffusion_target(encoding.registers, text)
    return Encoded(query, batch.labels, encoding.tokens, encoding.registers, target)
