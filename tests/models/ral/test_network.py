import pytest
import torch
from models.published_models import GoldenTests
from shared import needs_reference
from torch import Tensor

from dreamprvr.core.errors import UserError
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.ral import RAL, RALConfig
from dreamprvr.models.ral.alignment import row_weights
from dreamprvr.models.scoring import best_sum, product_rows
from dreamprvr.models.testing import ModelContract


class TestContract(ModelContract):
    model = RAL
    small = {"hidden_size": 16, "num_heads": 2, "gaussian_widths": (0.5, 5.0)}


class TestGolden(GoldenTests):
    name = "ral"
    model = RAL
    millions = {(1024, 1024): 34.15, (3072, 768): 35.53}
    # at the third step, a ReLU of the clips' aggregation gets 2.7e-8: float32 may have it below 0
    training_dtype = torch.float64

    def make(self) -> RetrievalModel:
        """Make the tiny model, which draws the golden noise."""
        model = super().make()
        assert isinstance(model, RAL)
        noise = self.group("noise")
        drawn: list[str] = []

        def draw(like: Tensor) -> Tensor:
            drawn.append("video" if len(drawn) % 2 else "text")  # text is drawn first
            return noise[drawn[-1]].to(like)

        model.alignment.noise = draw  # type: ignore[method-assign]
        return model

    @needs_reference
    def test_golden_words(self) -> None:
        """Word rows and both kinds of weights are within 1e-5, the NCE's products within 5e-6."""
        golden, train, mask = self.group("eval"), self.group("train"), self.group("in")["text_mask"]
        encoded = self.encode(self.make())
        rows, frames = encoded.queries.rows["frames"], encoded.videos.scales["frames"]
        assert rows.product_weights is not None
        # the rows of padding too, as they take part in the attention over rows
        assert (rows.vectors - golden["frame_query_words"]).abs().max() < 1e-5
        assert (rows.weights - golden["frame_word_weights"]).abs().max() < 1e-6
        assert (rows.weights - train["word_weights_for_scores"]).abs().max() < 1e-6
        assert (rows.product_weights - train["word_weights_for_products"]).abs().max() < 1e-6
        assert not rows.weights[mask == 0].any()
        products = best_sum(product_rows(encoded.queries).rows["frames"], frames, "zero")
        torch.testing.assert_close(products, train["frame_products"], rtol=1e-5, atol=5e-6)

    @needs_reference
    def test_golden_distributions(self) -> None:
        """Attention, means, log-spreads and samples are within the 5e-6 of the float64 run."""
        model, golden = self.make(), self.group("train")
        assert isinstance(model, RAL)
        batch, alignment = self.encode(model), model.alignment
        for name, sets, head in (
            ("text", alignment.text_sets(batch), alignment.text),
            ("video", alignment.video_sets(batch), alignment.video),
        ):
            found = head(sets)
            attention = torch.zeros_like(golden[f"{name}_attention"])
            weights = row_weights(head.spread_pooling, sets)
            for video in range(len(attention)):
                own = weights[sets.owner == video].flatten()
                attention[video, : len(own)] = own
                # one row of zeros stands for all that there are
                attention[video, len(own) :] = golden[f"{name}_attention"][video, -1]
            pooled = golden["support_pooled" if name == "text" else "video_pooled"]
            values = {
                "attention": attention, "mean": found.mean, "logsigma": found.log_spread,
                "samples": alignment.sample(found),
            }  # fmt: skip
            assert (sets.pooled - pooled).abs().max() < 5e-6
            assert torch.allclose(attention.sum(dim=1), torch.ones(len(attention)), atol=1e-6)
            for key, value in values.items():
                assert (value - golden[f"{name}_{key}"]).abs().max() < 1e-5, key


def test_ral_needs_word_rows() -> None:
    with pytest.raises(UserError, match=r"RAL needs network\.frame_query_encoder"):
        RALConfig(frame_query_encoder=None)
