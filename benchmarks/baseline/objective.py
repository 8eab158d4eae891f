"""The loss, video by video, and the optimiser (docs/model.md, sections 7 and 8)."""

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.baseline.network import Baseline, best
from dreamprvr.core.batch import TrainBatch
from dreamprvr.models.dreamprvr.config import ObjectiveConfig


def loss_terms(
    network: Baseline, batch: TrainBatch, config: ObjectiveConfig, hard_negatives: bool
) -> dict[str, Tensor]:
    """Encode a batch and return the unweighted terms by name, and their weighted sum `total`.

    Args:
        network: the network to train.
        batch: B videos with all their queries; every video has at least one.
        config: weights and constants.
        hard_negatives: use hard negatives in the triplets.
    """
    labels = batch.labels
    query = network.encode_queries(batch.queries)
    videos = network.encode_videos(batch.videos)
    terms = {}
    if network.register_sampler is not None and videos.registers is not None:
        terms["kl"] = kl(videos.registers.mu, videos.registers.logvar)
        second = network.encode_queries(batch.queries)  # with another dropout
        text = mean_per_video(second, labels, len(videos.clips))
        predicted = network.register_sampler.predict_noise(videos.registers, text)
        noise = videos.registers.initial.expand_as(predicted)
        terms["diffusion"] = ((predicted - noise) ** 2).mean()
    for name, tokens in (("clip", videos.clips), ("frame", videos.frames)):
        terms[f"{name}_nce"] = nce(best(query, tokens), labels)
        cosine = best(F.normalize(query, dim=-1), F.normalize(tokens, dim=-1))
        terms[f"{name}_triplet"] = triplet(cosine, labels, config, hard_negatives)
    terms["diversity"] = diversity(query, labels, config)
    terms["similarity"] = similarity(query, labels, config)
    total = torch.zeros_like(terms["diversity"])
    for name, term in terms.items():
        weight = 1.0 if name.endswith("triplet") else getattr(config, f"{name}_weight")
        total = total + weight * term
    return terms | {"total": total}


def mean_per_video(query: Tensor, labels: Tensor, num_videos: int) -> Tensor:
    """Average the embeddings (Q, D) of each video's queries, (B, D)."""
    return torch.stack([query[labels == video].mean(dim=0) for video in range(num_videos)])


def nce(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the contrastive loss of dot products (Q, B), over videos and over queries."""
    query_term = F.cross_entropy(scores, labels)
    video_terms = []
    for video in range(scores.shape[1]):
        column = scores[:, video]
        own = column[labels == video]
        video_terms.append(torch.logsumexp(column, dim=0) - torch.logsumexp(own, dim=0))
    return query_term + torch.stack(video_terms).mean()


def triplet(
    scores: Tensor, labels: Tensor, config: ObjectiveConfig, hard_negatives: bool
) -> Tensor:
    """Return the hinge loss of cosines (Q, B), with one negative for each video and query."""
    num_queries, num_videos = scores.shape
    if num_videos == 1:
        return 0 * scores.sum()
    pool = config.hard_pool if hard_negatives else num_videos
    video_term, query_term = scores.new_zeros(()), scores.new_zeros(())
    for video in range(num_videos):
        own = labels == video
        positive = scores[own, video]  # (n,)
        negative = scores[~own, video]  # (Q - n,)
        negative = negative.sort(descending=True).values
        place = 0 if hard_negatives else int(torch.randint(len(negative), ()))
        video_term = video_term + F.relu(config.margin + negative[place] - positive.mean())

        others = torch.arange(num_videos, device=scores.device) != video
        ranked = scores[own][:, others].sort(dim=1, descending=True).values[:, :pool]
        places = torch.randint(ranked.shape[1], (len(ranked), 1), device=scores.device)
        chosen = ranked.gather(1, places)[:, 0]  # (n,)
        query_term = query_term + F.relu(config.margin + chosen - positive).sum()
    return video_term / num_videos + query_term / num_queries


def diversity(query: Tensor, labels: Tensor, config: ObjectiveConfig) -> Tensor:
    """Return the loss that separates the queries (Q, D) of one video."""
    total = query.new_zeros(())
    for video in labels.unique().tolist():
        own = F.normalize(query[labels == video], dim=-1)
        different = ~torch.eye(len(own), dtype=torch.bool, device=query.device)
        cosine = (own @ own.T)[different]
        # rounding may leave 1 + cos below 0, where a power has no real value
        weight = (1 + cosine).clamp(min=0) ** config.diversity_gamma
        exponent = config.diversity_alpha * (cosine + config.diversity_delta)
        total = total + (weight * F.softplus(exponent)).sum()
    return total / len(query)


def similarity(query: Tensor, labels: Tensor, config: ObjectiveConfig) -> Tensor:
    """Return the supervised contrastive loss of the queries (Q, D); 0 if no video has two."""
    unit = F.normalize(query, dim=-1)
    logits = unit @ unit.T / config.similarity_temperature
    itself = torch.eye(len(query), dtype=torch.bool, device=query.device)
    total, count = 0 * query.sum(), 0
    for video in labels.unique().tolist():
        own = labels == video
        num_positives = int(own.sum()) - 1
        if num_positives == 0:
            continue
        rows = logits[own]  # (n, Q)
        denominator = torch.logsumexp(rows.masked_fill(itself[own], -torch.inf), dim=1)
        positives = own & ~itself[own]  # (n, Q)
        error = (denominator[:, None] - rows) * positives
        total = total + (error.sum(dim=1) / num_positives).sum()
        count += len(rows)
    return total / max(count, 1)


def kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return the KL divergence of N(mu, exp(logvar)), (B, D) each, from N(0, I)."""
    return (0.5 * (mu**2 + logvar.exp() - 1 - logvar)).sum(dim=1).mean()


# the LayerNorms of input projections and position embeddings
UNDECAYED_NORM = re.compile(r"(projection|position)\.norm\.weight$")


class BaselineAdam(torch.optim.Optimizer):
    """Adam without bias correction, with decoupled decay, clipping and warm-up.

    A step clips the gradient of each tensor to norm 1, in place.

    Args:
        network: network whose trainable parameters are updated.
        lr: largest learning rate.
        total_steps: number of steps of the whole training.
        warmup: share of the steps in which the rate rises from 0, above 0 and below 1; in the
            other steps it falls to 0.
        weight_decay: decay of all parameters but the biases and some LayerNorms.
    """

    def __init__(
        self,
        network: nn.Module,
        lr: float,
        total_steps: int,
        warmup: float = 0.01,
        weight_decay: float = 0.01,
    ) -> None:
        decayed, undecayed = [], []
        for name, parameter in network.named_parameters():
            if not parameter.requires_grad:
                continue
            is_bias = name.split(".")[-1].startswith("bias")
            if is_bias or UNDECAYED_NORM.search(name):
                undecayed.append(parameter)
            else:
                decayed.append(parameter)
        groups = [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": undecayed, "weight_decay": 0.0},
        ]
        super().__init__(groups, {"lr": lr})
        self.total_steps = total_steps
        self.warmup = warmup
        self.steps_taken = 0

    def factor(self) -> float:
        """Return the factor of the learning rate in the coming step."""
        progress = self.steps_taken / self.total_steps
        if progress < self.warmup:
            return progress / self.warmup
        return max((1 - progress) / (1 - self.warmup), 0.0)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; `closure` is not supported."""
        rate = self.factor()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                nn.utils.clip_grad_norm_(parameter, 1.0)
                gradient, state = parameter.grad, self.state[parameter]
                if not state:
                    state["m"] = torch.zeros_like(parameter)
                    state["v"] = torch.zeros_like(parameter)
                state["m"] = 0.9 * state["m"] + 0.1 * gradient
                state["v"] = 0.999 * state["v"] + 0.001 * gradient**2
                update = state["m"] / (state["v"].sqrt() + 1e-6)
                update = update + group["weight_decay"] * parameter
                parameter -= group["lr"] * rate * update
        self.steps_taken += 1
