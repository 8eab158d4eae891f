"""The generated benchmark: a world with nothing to download."""

from typing import ClassVar

from data_modules.base import FeatureSet, PRVRDataModule
from data_modules.generation.world import WorldConfig, generate_world


class Synthetic(PRVRDataModule):
    """Untrimmed videos made of events over background, captions that each describe one event.

    Generated into `<root>/synthetic/` in the MS-SL layout the first time it is used; see
    `data_modules/generation/world.py` for what is in it.
    """

    collection = "synthetic"
    world: ClassVar[WorldConfig] = WorldConfig()
    feature_sets = {
        "standard": FeatureSet(
            video="FeatureData/synthetic",
            text="TextData/roberta_synthetic_query_feat.hdf5",
            video_dim=world.video_dim,
            text_dim=world.text_dim,
        )
    }
    source = "It is generated: nothing to download."

    def prepare_data(self) -> None:
        """Generate the world, unless it is there."""
        generate_world(self.root, self.collection, self.world)
        super().prepare_data()
