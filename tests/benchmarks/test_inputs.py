import pytest
import torch

from benchmarks.inputs import FEATURES, pair, settings, train_batch
from data_modules.activitynet import ActivityNet
from data_modules.charades import Charades
from data_modules.synthetic import Synthetic
from data_modules.tvr import TVR


@pytest.mark.parametrize("kind", [ActivityNet, Charades, Synthetic, TVR])
def test_feature_sizes_are_the_data_modules_own(kind: type[TVR]) -> None:
    shape = kind.feature_sets["standard"]
    assert FEATURES[kind.collection] == (shape.video_dim, shape.text_dim)


def test_published_settings() -> None:
    found = settings("tvr")
    assert (found.network.num_registers, found.network.softmax_temperature) == (8, 0.09)
    assert (found.network.dropout, found.objective.margin) == (0.2, 0.1)
    assert (found.lr, found.weight_decay, found.warmup) == (3e-4, 0.01, 0.01)
    assert settings("synthetic").network.gaussian_widths == (0.25, 1.0, 4.0)


def test_batch() -> None:
    chosen = settings("synthetic")
    batch = train_batch(chosen, 3, captions=2)
    assert batch.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert batch.queries.positives[:, 0].tolist() == batch.labels.tolist()
    assert batch.videos.clips.shape == (3, 32, 128)
    assert batch.videos.frames.shape == (3, 64, 128)
    lengths, words = batch.videos.frame_mask.sum(1), batch.queries.word_mask.sum(1)
    assert 32 <= lengths.min() < lengths.max() <= 64
    assert 15 <= words.min() < words.max() <= 20
    assert words.max() == batch.queries.words.shape[1]
    norms = batch.videos.frames.norm(dim=-1)
    torch.testing.assert_close(norms, batch.videos.frame_mask)
    assert not torch.equal(batch.videos.clips, train_batch(chosen, 3, 2, seed=9).videos.clips)


def test_pair_has_the_same_weights() -> None:
    product, baseline = pair(settings("synthetic"))
    theirs = baseline.state_dict()
    assert all(torch.equal(theirs[name], value) for name, value in product.state_dict().items())
