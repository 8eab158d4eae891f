"""The objective of DreamPRVR: all loss terms and their weighted sum (docs/model.md, section 7)."""

import torch
from torch import Tensor, nn

from dreamprvr.models.dreamprvr.config import ObjectiveConfig
from dreamprvr.models.encoded import EncodedBatch, Padding
from dreamprvr.models.layers.basic import at_least_float32
from dreamprvr.models.losses.queries import diversity, query_similarity
from dreamprvr.models.losses.retrieval import retrieval_terms, weighted_total
from dreamprvr.models.parts import LossTerm, build_part


class Objective(nn.Module):
    """Every loss term of a batch, and their weighted sum.

    Args:
        config: weights and constants.
        padding: whether padded frames take part in the maxima.
    """

    def __init__(self, config: ObjectiveConfig, padding: Padding) -> None:
        super().__init__()
        self.config = config
        self.padding: Padding = padding
        extra: dict[str, LossTerm] = {name: build_part(part) for name, part in config.extra.items()}
        self.extra = nn.ModuleDict(extra)
        self.extra_weights = {name: float(term.weight) for name, term in extra.items()}

    def forward(self, batch: EncodedBatch, hard_negatives: bool) -> dict[str, Tensor]:
        """Compute the unweighted terms by name, and `total`; all scalars in float32.

        Args:
            batch: the encoded batch. Terms of the register sampler's own are among the extras of
                the videos as `loss/<name>`, (B,).
            hard_negatives: whether the triplets use hard negatives.
        """
        c = self.config
        with torch.autocast(batch.queries.embedding.device.type, enabled=False):
            terms = retrieval_terms(batch, self.padding, c.margin, hard_negatives, c.hard_pool)
            query, labels = at_least_float32(batch.queries.embedding), batch.labels
            shape = (c.diversity_delta, c.diversity_alpha, c.diversity_gamma)
            terms["diversity"] = diversity(query, labels, *shape)
            terms["similarity"] = query_similarity(query, labels, c.similarity_temperature)
            for name, values in batch.videos.extras.items():
                if name.startswith("loss/"):
                    terms[name.removeprefix("loss/")] = values.mean()
            for name, term in self.extra.items():
                terms[name] = term(batch, hard_negatives)
            return terms | {"total": weighted_total(terms, c, self.extra_weights)}
