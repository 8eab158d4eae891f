"""What happens when in a generated film, and how it is encoded: all from its name and seed."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from data_modules.generation.folders import generator
from tests.kit.vocabulary import PLACES, Event, caption, draw_event

PALETTE_SPREAD = 0.07  # of a film's brightness and tint
FILLERS = ("nothing", "nothing", "cloud", "flicker", "card")


@dataclass(frozen=True)
class Form:
    """How a film is stored.

    Args:
        codec: PyAV's name of the encoder.
        container: the file's ending.
        width, height: pixels, even.
        rates: frames a second; with several, each frame's is drawn anew (variable frame rate).
    """

    codec: str
    container: str
    width: int
    height: int
    rates: tuple[Fraction, ...]


FORMS = (
    Form("libx264", "mp4", 160, 120, (Fraction(12),)),
    Form("mpeg4", "mp4", 192, 108, (Fraction(15),)),
    Form("libx264", "mkv", 192, 108, (Fraction(6), Fraction(12), Fraction(24))),
    Form("libvpx-vp9", "mkv", 160, 120, (Fraction(10),)),
    Form("libx265", "mp4", 160, 90, (Fraction(25, 2),)),
    Form("libx264", "mp4", 320, 180, (Fraction(10),)),
    Form("mpeg4", "mkv", 160, 120, (Fraction(8),)),
    Form("libx264", "mp4", 160, 90, (Fraction(8), Fraction(15))),
)


@dataclass(frozen=True)
class Shot:
    """A stretch of a film: an event, or a pause with one of `FILLERS`; seconds."""

    start: float
    end: float
    place: str
    event: Event | None
    filler: str = "nothing"


@dataclass(frozen=True)
class FilmPlan:
    """A film before it is rendered.

    Args:
        name: the file's name without ending, and the video id.
        form: how it is stored.
        shots: they follow each other without gaps, from second 0.
        captions: one for each event, in order.
        tint: (3,) factors of red, green and blue.
        seed: of everything that the drawing draws.
    """

    name: str
    form: Form
    shots: tuple[Shot, ...]
    captions: tuple[str, ...]
    tint: tuple[float, float, float]
    seed: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.shots[-1].end

    @property
    def events(self) -> list[Shot]:
        """The shots with an event."""
        return [shot for shot in self.shots if shot.event is not None]

    @property
    def file_name(self) -> str:
        """Of the film's file."""
        return f"{self.name}.{self.form.container}"


def plan_films(
    number: int, events: tuple[int, int] = (20, 40), seed: int = 0, first: int = 0
) -> list[FilmPlan]:
    """Plan films; no event (colour, shape, count, motion, place) comes twice in all of them.

    So every caption is true of one moment of one film, and what test films show is never exactly
    what training films showed.

    Args:
        number: of films.
        events: fewest and most events of a film.
        seed: same seed, same films.
        first: number of the first film.
    """
    used: set[tuple[str, str, int, str, str]] = set()
    return [_plan(index, events, seed, used) for index in range(first, first + number)]


def _plan(
    index: int, events: tuple[int, int], seed: int, used: set[tuple[str, str, int, str, str]]
) -> FilmPlan:
    name = f"film{index:02d}"
    rng = generator(seed, "film", name)
    shots: list[Shot] = []
    number = int(rng.integers(events[0], events[1] + 1))
    place, left, now = "", 0, 0.0
    for _ in range(number):
        if left == 0:  # on to another place
            place, left = (
                str(rng.choice([p for p in PLACES if p != place])),
                int(rng.integers(2, 6)),
            )
        left -= 1
        for event, (shortest, longest) in ((None, (1.5, 4.5)), (_fresh(place, used, rng), (3, 7))):
            end = round(now + float(rng.uniform(shortest, longest)), 2)
            filler = str(rng.choice(FILLERS)) if event is None else "nothing"
            shots.append(Shot(now, end, place, event, filler))
            now = end
    shots.append(Shot(now, now + 2.0, place, None))
    sentences = tuple(caption(shot.event, rng) for shot in shots if shot.event)
    red, green, blue = rng.uniform(1 - PALETTE_SPREAD, 1 + PALETTE_SPREAD, 3).tolist()
    form = FORMS[index % len(FORMS)]
    return FilmPlan(name, form, tuple(shots), sentences, (red, green, blue), seed)


def _fresh(
    place: str, used: set[tuple[str, str, int, str, str]], rng: np.random.Generator
) -> Event:
    while True:
        event = draw_event(place, rng)
        key = (event.colour, event.shape, event.count, event.motion, event.place)
        if key not in used:
            used.add(key)
            return event
