"""The generated benchmark behind `configs/synthetic.yaml`: made on the spot, in seconds.

Each video is a row of events over background; each event is an actor, an action, an object and a
place, and each caption describes one event. What makes it a retrieval problem:

- a caption's words and a video's rows lie in unrelated random spaces: untrained scores are chance;
- an event fills about a tenth of its video, and the background has the largest part in every row;
- most events of the evaluation splits pair an action with an object that no training video pairs;
- some captions leave parts out and name the scene instead, which is seen only between the events.

It is a toy: its figures compare methods with each other, and stand for no real benchmark.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from data_modules.generation.folders import LARGEST_SEED, building, generator, is_current
from data_modules.generation.world_grammar import (
    LEXICON,
    OBJECT_CLASS,
    PARTS,
    SCENE_CLASS,
    WORDS,
    Event,
    caption,
    tokens,
)
from data_modules.readers.captions import write_captions
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations, write_tables
from dreamprvr.core.errors import UserError, check_range
from dreamprvr.core.vectors import unit

RECORD = "world.json"
VERSION = 1  # raise it when the same settings give other data
SPLITS = ("train", "val", "test")


LATENT = 48  # size of the space of meanings, from which the text and the video space derive


@dataclass(frozen=True)
class Looks:
    """How strongly each thing shows in a feature row, as the norm that it adds.

    Attributes:
        part: one part (actor, action, ...) of an event, at full visibility.
        pair: the look of this action with this object, which words cannot tell.
        scene: the scene, in the few rows that show it.
        backdrop: the video's background, in a subspace that all videos share.
        style: the video's own look (camera, colours), the same in all its rows.
        noise: each row's own noise.
    """

    part: float = 1.3
    pair: float = 0.4
    scene: float = 1.3
    backdrop: float = 2.0
    style: float = 0.5
    noise: float = 1.3


@dataclass(frozen=True)
class Plan:
    """One video before it is rendered; times in seconds.

    Attributes:
        video_id: name of the video.
        duration: length of the video.
        scene: index into `WORDS["scene"]`.
        events: what happens, in order.
        moments: (start, end) of each event.
        views: (start, end) of the shots that show the scene; they lie between the events.
    """

    video_id: str
    duration: float
    scene: int
    events: list[Event]
    moments: list[tuple[float, float]]
    views: list[tuple[float, float]]


@dataclass(frozen=True)
class WorldConfig:
    """Size and difficulty of the generated benchmark.

    Attributes:
        train, val, test: number of videos in each split; no video is in two.
        captions: largest number of captions of a video (one for each event).
        video_dim: size of a row of a video, which has one row for each second.
        text_dim: size of a word of a caption.
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

    Does nothing if it is there with the same settings (kept in `world.json`), and makes it again
    if they differ. The feature folder is named after the collection.

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
    """Draw the parts that a caption names beside its action."""
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
    """Make a float32 vector (text_dim,) for each word form: its meaning and a little of its own.

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


def is_held_out(action: int, thing: int, share: float, seed: int) -> bool:
    """Return whether an action with an object is held out: only evaluation videos show it."""
    return bool(generator(seed, "held out", f"{action} {thing}").random() < share)


def concept_vectors(part: str, seed: int) -> np.ndarray:
    """Draw unit vectors (concepts, LATENT) as meanings of a part; those of a class are close."""
    groups = {"object": OBJECT_CLASS, "scene": SCENE_CLASS}.get(part)
    vectors = []
    for index in range(len(WORDS[part])):
        own = _direction(generator(seed, "concept", part, str(index)), LATENT)
        if groups:
            own = 0.6**0.5 * own + 0.4**0.5 * _direction(
                generator(seed, "class", part, groups[index]), LATENT
            )
        vectors.append(own / np.linalg.norm(own))
    return np.stack(vectors)


def _direction(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a unit vector (size,)."""
    vector = rng.standard_normal(size)
    return vector / np.linalg.norm(vector)


def plan_video(video_id: str, unseen: bool, held_out: float, seed: int) -> Plan:
    """Decide what happens in a video.

    Args:
        video_id: name of the video, which together with the seed decides everything.
        unseen: prefer held-out pairs of action and object (evaluation), or avoid them (training).
        held_out: share of the pairs of action and object that are held out.
        seed: seed of the world.
    """
    rng = generator(seed, "plan", video_id)
    duration = round(float(np.exp(rng.uniform(np.log(30), np.log(240)))), 2)
    scene = int(rng.integers(len(WORDS["scene"])))
    star = int(rng.integers(len(WORDS["actor"])))  # most events of a video share their actor
    events = []
    for _ in range(int(rng.integers(4, 8))):
        actor = star if rng.random() < 0.5 else int(rng.integers(len(WORDS["actor"])))
        action, thing = _draw_pair(rng, scene, unseen and rng.random() < 0.8, held_out, seed)
        events.append(Event(actor, action, thing, int(rng.integers(len(WORDS["place"])))))
    # gap, event, gap, event, ..., gap; each gap may hold a view of the scene
    parts = 2 * len(events) + 1
    shares = 0.4 / parts + 0.6 * rng.dirichlet(np.full(parts, 2.0))
    ends = np.round(np.cumsum(shares) * duration, 2).tolist()
    moments = list(zip(ends[0:-1:2], ends[1::2], strict=True))
    gaps = list(zip([0.0, *ends[1::2]], ends[0::2], strict=True))
    chosen = rng.choice(len(gaps), size=int(rng.integers(1, 3)), replace=False)
    views = [gaps[i] for i in sorted(chosen.tolist())]
    return Plan(video_id, duration, scene, events, moments, views)


def _draw_pair(
    rng: np.random.Generator, scene: int, unseen: bool, held_out: float, seed: int
) -> tuple[int, int]:
    while True:
        action = int(rng.integers(len(WORDS["action"])))
        thing = int(rng.integers(len(WORDS["object"])))
        # things that suit the scene are three times as likely
        suits = OBJECT_CLASS[thing] == SCENE_CLASS[scene]
        if (suits or rng.random() < 1 / 3) and (
            is_held_out(action, thing, held_out, seed) == unseen
        ):
            return action, thing


class Renderer:
    """Turns plans into feature rows.

    Args:
        size: size of a feature row.
        looks: how strongly each thing shows.
        seed: seed of the world.
    """

    def __init__(self, size: int, looks: Looks, seed: int) -> None:
        self.size, self.looks, self.seed = size, looks, seed
        # Each part has its own map from meanings to looks, so that a sum of parts can be undone.
        self.appearance = {
            part: concept_vectors(part, seed)
            @ generator(seed, "video map", part).standard_normal((LATENT, size))
            / size**0.5
            for part in WORDS
        }
        self.backdrops = generator(seed, "backdrops").standard_normal((16, size)) / size**0.5

    def render(self, plan: Plan) -> np.ndarray:
        """Return the feature rows (N, size) float32 of a video, one for each second."""
        rng = generator(self.seed, "render", plan.video_id)
        times = np.arange(max(1, round(plan.duration))) + 0.5
        rows = self.looks.noise * rng.standard_normal((len(times), self.size)) / self.size**0.5
        rows += self.looks.style * _direction(rng, self.size)
        rows += self.looks.backdrop * self._backdrop(times, rng)
        for start, end in plan.views:
            inside = (times >= start) & (times < end)
            rows[inside] += self.looks.scene * self.appearance["scene"][plan.scene]
        for event, (start, end) in zip(plan.events, plan.moments, strict=True):
            inside = (times >= start) & (times < end)
            rows[inside] += self._event(event, (times[inside] - start) / (end - start), rng)
        return rows.astype(np.float32)

    def _backdrop(self, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a unit direction for each row, which turns slowly during the video."""
        start, end = rng.standard_normal((2, len(self.backdrops)))
        phase = times[:, None] / times[-1]
        mixture = np.cos(phase) * start + np.sin(phase) * end
        return unit(mixture) @ self.backdrops

    def _event(self, event: Event, phase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the rows of one event; few rows show all of its parts."""
        rows = np.zeros((len(phase), self.size))
        for part in PARTS:
            turn = 2 * np.pi * (rng.uniform(0.5, 1.0) * phase + rng.random())
            visible = np.clip(0.6 + 0.8 * np.sin(turn), 0.1, 1)
            rows += self.looks.part * np.outer(visible, self.appearance[part][getattr(event, part)])
        pair = generator(self.seed, "pair", f"{event.action} {event.object}")
        return rows + self.looks.pair * _direction(pair, self.size)
