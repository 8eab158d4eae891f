"""Drawing the frames of a generated film with numpy: places, shapes and how they move.

Lengths are in units of the frame's height, so that all sizes show the same film.
"""

from typing import NamedTuple

import numpy as np

from tests.kit.vocabulary import Event


class Placed(NamedTuple):
    """A shape at one instant: centre, half its size, and its turn in radians."""

    x: float
    y: float
    radius: float
    angle: float


def background(place: str, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A place without events, (H, W, 3) float32 in 0-255; its colours are dull."""
    y, x = np.mgrid[:height, :width].astype(np.float32) / height
    lower = y > 0.55

    def two(where: np.ndarray, first: tuple[int, ...], second: tuple[int, ...]) -> np.ndarray:
        return np.where(where[..., None], np.array(first, np.float32), np.array(second, np.float32))

    if place == "night":
        stars = rng.random((height, width)) < 0.004
        return two(stars, (170, 170, 160), (18, 20, 38))
    if place == "stripes":
        return two(np.sin(40 * x + rng.uniform(0, 6)) > 0, (88, 80, 74), (128, 118, 108))
    if place == "checks":
        odd = (np.floor(x * 7) + np.floor(y * 7)) % 2 == 1
        return two(odd, (60, 60, 62), (140, 140, 138))
    if place == "meadow":
        return two(lower, (82, 112, 70), (138, 154, 172))
    if place == "desert":
        return two(lower, (176, 158, 122), (150, 160, 172)) - 15 * np.sin(9 * y + 4 * x)[..., None]
    if place == "snow":
        return two(rng.random((height, width)) < 0.03, (190, 192, 194), (164, 170, 176))
    if place == "sea":
        waves = np.sin(35 * y + 2 * np.sin(8 * x)) > 0.3
        return two(waves, (58, 88, 108), (44, 70, 92))
    rows = np.floor(y * 9)
    mortar = (y * 9 % 1 < 0.16) | ((x * 4.5 + rows % 2 / 2) % 1 < 0.08)
    return two(mortar, (132, 124, 118), (116, 80, 70))


def inside(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Which points lie in a shape of radius 1 around 0; v points down."""
    if shape == "circle":
        return u * u + v * v < 1
    if shape == "ring":
        square = u * u + v * v
        return (square < 1) & (square > 0.36)
    if shape == "square":
        return np.maximum(abs(u), abs(v)) < 0.85
    if shape == "triangle":
        return (v < 0.6) & (abs(u) < (v + 1) * 0.6)
    return (np.minimum(abs(u), abs(v)) < 0.3) & (np.maximum(abs(u), abs(v)) < 0.95)


def draw(frame: np.ndarray, shape: str, colour: np.ndarray, placed: Placed) -> None:
    """Paint one shape into a frame (H, W, 3) uint8, cut at its border."""
    height, width = frame.shape[:2]
    reach = placed.radius * 1.2
    top, bottom = (round((placed.y + side * reach) * height) for side in (-1, 1))
    left, right = (round((placed.x + side * reach) * height) for side in (-1, 1))
    top, left = max(top, 0), max(left, 0)
    bottom, right = min(bottom, height), min(right, width)
    if top >= bottom or left >= right:
        return
    dy = ((np.arange(top, bottom) + 0.5) / height - placed.y)[:, None] / placed.radius
    dx = ((np.arange(left, right) + 0.5) / height - placed.x)[None] / placed.radius
    cos, sin = np.cos(placed.angle), np.sin(placed.angle)
    mask = inside(shape, cos * dx + sin * dy, cos * dy - sin * dx)
    frame[top:bottom, left:right][mask] = colour


def placements(
    event: Event, phase: float, seconds: float, aspect: float, rng: np.random.Generator
) -> list[Placed]:
    """Where the shapes of an event are; the same generator state gives the same event.

    Args:
        event: what happens.
        phase: share of the event that is over, 0 to 1.
        seconds: since the event's start.
        aspect: width of the frame.
        rng: draws what is the event's own: size, place and speed.
    """
    radius, away = rng.uniform(0.09, 0.13), rng.uniform(-0.08, 0.08)
    turn, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 1.2)
    angle = rng.uniform(-0.15, 0.15)
    gap = 2.5 * radius
    x, y = aspect / 2 + away, 0.5 + away
    if event.motion in ("right", "left"):
        x = 0.1 + (aspect - 0.2) * (phase if event.motion == "right" else 1 - phase)
    elif event.motion in ("rise", "fall"):
        y = 0.08 + 0.84 * (phase if event.motion == "fall" else 1 - phase)
    elif event.motion == "bounce":
        y = 0.66 - 0.4 * abs(np.sin(np.pi * speed * seconds + turn))
    elif event.motion == "sway":
        x = aspect / 2 + 0.3 * np.sin(np.pi * speed * seconds + turn)
    elif event.motion == "orbit":
        x = aspect / 2 + 0.28 * np.cos(2 * speed * seconds + turn)
        y = 0.5 + 0.28 * np.sin(2 * speed * seconds + turn)
    elif event.motion in ("grow", "shrink"):
        radius = 0.03 + 0.12 * (phase if event.motion == "grow" else 1 - phase)
        gap = 0.32
    elif event.motion == "spin":
        angle = 1.8 * speed * seconds
    elif event.motion == "blink" and (seconds * speed * 1.5 + turn) % 1 > 0.55:
        return []
    steps = (np.arange(event.count) - (event.count - 1) / 2) * gap
    row = event.layout == "row"
    return [
        Placed(x + (s if row else 0), y + (0 if row else s), radius, angle) for s in steps.tolist()
    ]
