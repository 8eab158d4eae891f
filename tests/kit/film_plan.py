"""Plans of generated films: the words of their captions, their events, and how they are stored."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from data_modules.generation.folders import generator

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 35, 35),
    "orange": (245, 140, 20),
    "yellow": (245, 230, 40),
    "green": (40, 200, 60),
    "turquoise": (30, 215, 215),
    "blue": (40, 70, 235),
    "pink": (240, 90, 200),
    "white": (250, 250, 250),
}
SHAPES: dict[str, tuple[str, str]] = {
    "circle": ("circle", "circles"),
    "ring": ("ring", "rings"),
    "square": ("square", "squares"),
    "triangle": ("triangle", "triangles"),
    "cross": ("cross", "crosses"),
}
# Verb for one shape, verb for several, and the rest of the phrase.
MOTIONS: dict[str, list[tuple[str, str, str]]] = {
    "right": [
        ("crosses", "cross", "the screen from left to right"),
        ("moves", "move", "to the right"),
    ],
    "left": [
        ("crosses", "cross", "the screen from right to left"),
        ("moves", "move", "to the left"),
    ],
    "rise": [("rises", "rise", "to the top"), ("floats", "float", "upwards")],
    "fall": [("falls", "fall", "to the bottom"), ("sinks", "sink", "downwards")],
    "bounce": [("bounces", "bounce", "up and down"), ("hops", "hop", "on the spot")],
    "sway": [("sways", "sway", "from side to side"), ("swings", "swing", "to and fro")],
    "grow": [("grows", "grow", "larger"), ("expands", "expand", "")],
    "shrink": [("shrinks", "shrink", "to a dot"), ("gets", "get", "smaller")],
    "spin": [("rotates", "rotate", ""), ("spins", "spin", "in place")],
    "orbit": [("circulates", "circulate", "around the middle"), ("orbits", "orbit", "the centre")],
    "blink": [("blinks", "blink", ""), ("flashes", "flash", "on and off")],
}
ROUND = ("circle", "ring")  # shapes that never spin, since nobody would see it
PLACES: dict[str, list[str]] = {
    "night": ["at night", "under the stars"],
    "stripes": ["over a striped floor", "on stripes"],
    "checks": ["over a checkered floor", "on a chessboard"],
    "meadow": ["on a meadow", "in the grass"],
    "desert": ["in the desert", "on the sand"],
    "snow": ["in the snow", "on ice"],
    "sea": ["in the sea", "under water"],
    "bricks": ["before a brick wall", "along the bricks"],
}
COUNTS = {1: ("a", "one"), 2: ("two", "a pair of"), 3: ("three", "a trio of")}
LAYOUTS = {"row": "side by side", "column": "one above the other"}


@dataclass(frozen=True)
class Event:
    """An event in a film. All words are keys of the tables above.

    Args:
        colour: colour of the shapes.
        shape: kind of the shapes.
        count: number of shapes.
        motion: how the shapes move.
        place: background.
        layout: how several shapes are arranged; "row" for a single one.
    """

    colour: str
    shape: str
    count: int
    motion: str
    place: str
    layout: str = "row"


def draw_event(place: str, rng: np.random.Generator) -> Event:
    """Draw a random event at a place."""
    while True:
        event = Event(
            colour=str(rng.choice(list(COLOURS))),
            shape=str(rng.choice(list(SHAPES))),
            count=int(rng.choice(list(COUNTS))),
            motion=str(rng.choice(list(MOTIONS))),
            place=place,
            layout=str(rng.choice(list(LAYOUTS))),
        )
        if event.motion != "spin" or event.shape not in ROUND:
            return event if event.count > 1 else Event(**{**vars(event), "layout": "row"})


def caption(event: Event, rng: np.random.Generator | None = None) -> str:
    """Describe an event in one sentence, which may leave out the layout.

    Args:
        event: event to describe.
        rng: generator that chooses among synonyms and orders; None takes the first of each.
    """

    def pick(number: int) -> int:
        return 0 if rng is None else int(rng.integers(number))

    one, several, rest = MOTIONS[event.motion][pick(len(MOTIONS[event.motion]))]
    noun = SHAPES[event.shape][event.count > 1]
    number = COUNTS[event.count][pick(2)]
    number = "an" if number == "a" and event.colour == "orange" else number
    subject = f"{number} {event.colour} {noun}"
    if event.count > 1 and pick(4) != 1:
        subject += f" {LAYOUTS[event.layout]}"
    clause = f"{subject} {several if event.count > 1 else one} {rest}".strip()
    where = PLACES[event.place][pick(2)]
    return f"{where}, {clause}" if pick(3) == 1 else f"{clause} {where}"


PALETTE_SPREAD = 0.07  # by which brightness and tint of films differ from 1
FILLERS = ("nothing", "nothing", "cloud", "flicker", "card")


@dataclass(frozen=True)
class Form:
    """The format of a film's file.

    Args:
        codec: name of the encoder in PyAV.
        container: ending of the file.
        width: width in pixels, even.
        height: height in pixels, even.
        rates: frames in a second; if there are several, one is drawn for each frame.
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
    """A part of a film from `start` to `end` in seconds: an event, or a pause with a filler."""

    start: float
    end: float
    place: str
    event: Event | None
    filler: str = "nothing"


@dataclass(frozen=True)
class FilmPlan:
    """A film before it is rendered.

    Args:
        name: name of the file without its ending, which is also the video id.
        form: format of the file.
        shots: shots of the film, without gaps, from second 0 on.
        captions: a caption for each event, in their order.
        tint: factors of red, green and blue.
        seed: seed of all random numbers for the pictures.
    """

    name: str
    form: Form
    shots: tuple[Shot, ...]
    captions: tuple[str, ...]
    tint: tuple[float, float, float]
    seed: int

    @property
    def duration(self) -> float:
        """Length of the film in seconds."""
        return self.shots[-1].end

    @property
    def events(self) -> list[Shot]:
        """Shots with an event."""
        return [shot for shot in self.shots if shot.event is not None]

    @property
    def file_name(self) -> str:
        """Name of the film's file."""
        return f"{self.name}.{self.form.container}"


def plan_films(number: int, events: tuple[int, int] = (20, 40), seed: int = 0) -> list[FilmPlan]:
    """Plan films in which no event (colour, shape, count, motion, place) occurs twice.

    So every caption is true of one moment of one film, and test films never show exactly the same
    as training films.

    Args:
        number: number of films.
        events: smallest and largest number of events in a film.
        seed: seed; the same seed gives the same films.
    """
    used: set[tuple[str, str, int, str, str]] = set()
    return [_plan(index, events, seed, used) for index in range(number)]


def _plan(
    index: int, events: tuple[int, int], seed: int, used: set[tuple[str, str, int, str, str]]
) -> FilmPlan:
    name = f"film{index:02d}"
    rng = generator(seed, "film", name)
    shots: list[Shot] = []
    number = int(rng.integers(events[0], events[1] + 1))
    place, left, now = "", 0, 0.0
    for _ in range(number):
        if left == 0:  # the film goes on at another place
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
