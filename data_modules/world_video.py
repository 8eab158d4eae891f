"""The videos of the generated benchmark: what happens when, and the feature rows that show it."""

from dataclasses import dataclass

import numpy as np

from data_modules.generated import generator
from data_modules.world_grammar import OBJECT_CLASS, PARTS, SCENE_CLASS, WORDS, Event

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
        video_id: its name.
        duration: its length.
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


def is_held_out(action: int, thing: int, share: float, seed: int) -> bool:
    """Whether an action with an object is kept for evaluation; no training video shows it."""
    return bool(generator(seed, "held out", f"{action} {thing}").random() < share)


def concept_vectors(part: str, seed: int) -> np.ndarray:
    """Unit vectors (concepts, LATENT) of the meanings of a part; a class's members are close."""
    groups = {"object": OBJECT_CLASS, "scene": SCENE_CLASS}.get(part)
    vectors = []
    for index in range(len(WORDS[part])):
        own = _unit(generator(seed, "concept", part, str(index)), LATENT)
        if groups:
            own = 0.6**0.5 * own + 0.4**0.5 * _unit(
                generator(seed, "class", part, groups[index]), LATENT
            )
        vectors.append(own / np.linalg.norm(own))
    return np.stack(vectors)


def _unit(rng: np.random.Generator, size: int) -> np.ndarray:
    vector = rng.standard_normal(size)
    return vector / np.linalg.norm(vector)


def plan_video(video_id: str, unseen: bool, held_out: float, seed: int) -> Plan:
    """Decide what happens in a video.

    Args:
        video_id: its name, which with the seed decides all.
        unseen: prefer held-out pairs of action and object (evaluation), or avoid them (training).
        held_out: share of the pairs that are held out.
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
        size: number of features a row.
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
        """The feature rows (N, size) float32 of a video, one a second."""
        rng = generator(self.seed, "render", plan.video_id)
        times = np.arange(max(1, round(plan.duration))) + 0.5
        rows = self.looks.noise * rng.standard_normal((len(times), self.size)) / self.size**0.5
        rows += self.looks.style * _unit(rng, self.size)
        rows += self.looks.backdrop * self._backdrop(times, rng)
        for start, end in plan.views:
            inside = (times >= start) & (times < end)
            rows[inside] += self.looks.scene * self.appearance["scene"][plan.scene]
        for event, (start, end) in zip(plan.events, plan.moments, strict=True):
            inside = (times >= start) & (times < end)
            rows[inside] += self._event(event, (times[inside] - start) / (end - start), rng)
        return rows.astype(np.float32)

    def _backdrop(self, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A unit direction that turns slowly while the video goes on."""
        start, end = rng.standard_normal((2, len(self.backdrops)))
        phase = times[:, None] / times[-1]
        mixture = np.cos(phase) * start + np.sin(phase) * end
        mixture /= np.linalg.norm(mixture, axis=1, keepdims=True)
        return mixture @ self.backdrops

    def _event(self, event: Event, phase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Rows of one event; each part comes and goes, so that hardly a row shows them all."""
        rows = np.zeros((len(phase), self.size))
        for part in PARTS:
            turn = 2 * np.pi * (rng.uniform(0.5, 1.0) * phase + rng.random())
            visible = np.clip(0.6 + 0.8 * np.sin(turn), 0.1, 1)
            rows += self.looks.part * np.outer(visible, self.appearance[part][getattr(event, part)])
        pair = generator(self.seed, "pair", f"{event.action} {event.object}")
        return rows + self.looks.pair * _unit(pair, self.size)
