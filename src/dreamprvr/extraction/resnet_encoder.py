"""ResNet: pictures without words."""

from torch import Tensor

from dreamprvr.extraction.encoder import QueryFeatures, no_text
from dreamprvr.extraction.image_models import ImageEncoder


class ResNetEncoder(ImageEncoder):
    """What a ResNet sees before its classes, averaged over the picture (2048 of ResNet-152)."""

    unused = ("classifier.",)

    def __init__(self, name: str, source: str, device: str) -> None:
        super().__init__(name, source, device)
        self.video_dim = int(self.model.config.hidden_sizes[-1])

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """(P, F) of P pictures: see the base class."""
        pooled: Tensor = self.model(**inputs).pooler_output  # (P, F, 1, 1)
        return pooled.flatten(1)

    def encode_query(self, text: str) -> QueryFeatures:
        """Refused.

        Raises:
            UserError: always.
        """
        raise no_text(self.name)
