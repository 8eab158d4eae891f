"""The words of the generated films: what an event is made of, and sentences that say it."""

from dataclasses import dataclass

import numpy as np

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
# Verb for one, verb for several, and the rest; the first phrase is the one in the documentation.
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
ROUND = ("circle", "ring")  # nobody sees them spin
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
    """What happens in one moment of a film; keys of the tables above.

    Args:
        layout: how several shapes stand to each other; "row" for a single one.
    """

    colour: str
    shape: str
    count: int
    motion: str
    place: str
    layout: str = "row"


def draw_event(place: str, rng: np.random.Generator) -> Event:
    """A random event at a place."""
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
    """One sentence that names everything about an event but, at times, the layout.

    Args:
        event: what to describe.
        rng: chooses among synonyms and orders; None takes the first of each.
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
