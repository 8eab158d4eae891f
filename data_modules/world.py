"""The generated benchmark behind `configs/synthetic.yaml`: made on the spot, in seconds.

Each video is a row of events over background; each event is an actor, an action, an object and a
place, and each caption describes one event. What makes it a retrieval problem:

- a caption's words and a video's rows lie in unrelated random spaces: untrained scores are chance;
- an event fills about a tenth of its video, and the video's background is the largest thing to see;
- most events of the evaluation splits pair an action with an object that no training video pairs;
- some captions leave parts out and name the scene instead, which is seen only between the events.

It is a toy: its figures compare methods with each other, and stand for no real benchmark.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from data_modules.captions import write_captions
from data_modules.generated import LARGEST_SEED, building, generator, is_current
from data_modules.schema import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from data_modules.tables import write_tables
from data_modules.world_grammar import LEXICON, WORDS, caption, tokens
from data_modules.world_video import LATENT, Looks, Plan, Renderer, concept_vectors, plan_video
from dreamprvr.core.errors import UserError, check_range

RECORD = "world.json"
VERSION = 1  # raise it when the same settings give other data
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class WorldConfig:
    """Size and difficulty of the generated benchmark.

    Attributes:
        train, val, test: number of videos in each split; no video is in two.
        captions: largest number of captions a video (one an event).
        video_dim: features a row of a video (one row a second).
        text_dim: features a word of a caption.
        partial: share of the captions that leave the actor or the object out.
        scenic: share of the captions that do so, and name the video's scene instead.
        held_out: share of the (action, object) pairs that only evaluation videos show.
        word_noise: norm of what tells a word form from its meaning (norm 1).
        looks: what a row of a video is made of.
        seed: same seed, same data.
    """

    train: int = 800
    val: int = 150
    test: int = 250
    captions: int = 5
    video_dim: int = 128
    text_dim: int = 96
    partial: float = 0.2
    scenic: float = 0.35
    held_out: float = 0.25
    word_noise: float = 0.4
    looks: Looks = field(default_factory=Looks)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("train", "val", "test", "captions", "video_dim", "text_dim"):
            check_range(f"WorldConfig.{name}", getattr(self, name), 1, 2**20, whole=True)
        for name in ("partial", "scenic"):
            check_range(f"WorldConfig.{name}", getattr(self, name), 0, 1)
        check_range("WorldConfig.word_noise", self.word_noise, 0, 2**20)
        if not 0 < self.held_out < 1:
            raise UserError(f"WorldConfig.held_out is {self.held_out}; it must be between 0 and 1")
        if self.partial + self.scenic > 1:
            raise UserError("WorldConfig.partial and .scenic must be shares that sum to at most 1")
        check_range("WorldConfig.seed", self.seed, 0, LARGEST_SEED, whole=True)


def generate_world(
    root: Path, collection: str = "synthetic", config: WorldConfig | None = None
) -> None:
    """Write the benchmark to `<root>/<collection>/` in the MS-SL layout.

    Does nothing where it stands already with the same settings (kept in `world.json`), and makes
    it again where they differ. The feature folder is named after the collection.

    Raises:
        UserError: the folder holds data that were not generated.
    """
    config = config or WorldConfig()
    folder = Path(root) / collection
    settings = {"version": VERSION, "collection": collection, **asdict(config)}
    if is_current(folder, RECORD, settings):
        return
    plans = {split: _plans(split, config) for split in SPLITS}
    annotations = _annotations(plans, config)
    with building(folder, RECORD, settings) as new:
        text, video = new / "TextData", new / "FeatureData" / collection
        text.mkdir()
        video.mkdir(parents=True)
        for split in SPLITS:
            queries = annotations.split(split).queries
            write_captions(text / f"{collection}{split}.caption.txt", queries)
        write_tables(text, collection, annotations)
        _write_words(text / f"roberta_{collection}_query_feat.hdf5", annotations.queries, config)
        renderer = Renderer(config.video_dim, config.looks, config.seed)
        with h5py.File(video / "feature.hdf5", "w") as file:
            for plan in (plan for split in SPLITS for plan in plans[split]):
                file[plan.video_id] = renderer.render(plan)


def _plans(split: str, config: WorldConfig) -> list[Plan]:
    unseen = split != "train"
    return [
        plan_video(f"{split}{i:04d}", unseen, config.held_out, config.seed)
        for i in range(getattr(config, split))
    ]


def _annotations(plans: dict[str, list[Plan]], config: WorldConfig) -> Annotations:
    videos = [(p.video_id, p.duration, split, "") for split in SPLITS for p in plans[split]]
    queries = []
    for split in SPLITS:
        for plan in plans[split]:
            rng = generator(config.seed, "captions", plan.video_id)
            order = rng.permutation(len(plan.events))[: config.captions]
            for i, event in enumerate(sorted(order.tolist())):
                text = caption(plan.events[event], plan.scene, _named(config, rng), rng)
                identity = (f"{plan.video_id}#enc#{i}", (plan.video_id,))
                queries.append((*identity, text, (plan.moments[event],), split))
    return Annotations(
        pd.DataFrame(videos, columns=VIDEO_COLUMNS), pd.DataFrame(queries, columns=QUERY_COLUMNS)
    )


def _named(config: WorldConfig, rng: np.random.Generator) -> set[str]:
    """The parts that a caption names beside its action."""
    place = {"place"} if rng.random() < 0.5 else set()
    kind = rng.random()
    if kind >= config.partial + config.scenic:
        return {"actor", "object"} | place
    kept = str(rng.choice(["actor", "object"]))
    return {kept} | ({"scene"} if kind < config.scenic else place)


def _write_words(path: Path, queries: pd.DataFrame, config: WorldConfig) -> None:
    texts = [tokens(text) for text in queries["text"]]
    vectors = word_vectors(sorted({word for text in texts for word in text}), config)
    with h5py.File(path, "w") as file:
        for query_id, text in zip(queries["query_id"], texts, strict=True):
            file[query_id] = np.stack([vectors[word] for word in text])


def word_vectors(words: list[str], config: WorldConfig) -> dict[str, np.ndarray]:
    """A float32 vector (text_dim,) for each word form: its meaning and a little of its own.

    Synonyms and forms of one verb are close but not equal; words without content are noise alone.
    """
    seed, size = config.seed, config.text_dim
    to_text = generator(seed, "text map").standard_normal((LATENT, size)) / size**0.5
    meanings = {part: concept_vectors(part, seed) @ to_text for part in WORDS}
    vectors = {}
    for word in words:
        own = generator(seed, "word", word).standard_normal(size) / size**0.5
        vector = config.word_noise * own
        if word in LEXICON:
            part, index = LEXICON[word]
            vector = vector + meanings[part][index]
        vectors[word] = vector.astype(np.float32)
    return vectors
