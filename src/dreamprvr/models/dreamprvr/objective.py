"""The objective of DreamPRVR (docs/model.md, section 7)."""

from torch import Tensor

from dreamprvr.models import gaussian
from dreamprvr.models.dreamprvr.config import ObjectiveConfig
from dreamprvr.models.losses.queries import query_similarity


class Objective(gaussian.Objective):
    """All loss terms of a batch; the KL term and L_dre come with the batch (`encode_batch`)."""

    config: ObjectiveConfig

    def own_terms(self, query: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the query similarity preservation."""
        return {"similarity": query_similarity(query, labels, self.config.similarity_temperature)}
