"""Draw the frames of a generated film with numpy, and write them to a video file with PyAV.

Lengths are in units of the frame's height, so that a film looks the same at all sizes.
"""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from data_modules.generation.folders import generator
from tests.kit.film_plan import COLOURS, Event, FilmPlan, Shot

TIME_BASE = Fraction(1, 12_000)  # unit of time stamps, which fits all rates of `FORMS`
GRAIN = 2.0  # standard deviation of the film grain, where white is 255
OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "ultrafast", "crf": "23"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:frame-threads=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"},
    "mpeg4": {"q": "4", "flags": "+qscale"},
}


class Placed(NamedTuple):
    """A shape at one instant: its centre, half its size, and its rotation in radians."""

    x: float
    y: float
    radius: float
    angle: float


def background(place: str, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a place without events in dull colours, (H, W, 3) float32 from 0 to 255."""
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
    """Return which points lie in a shape of radius 1 around 0; v points down."""
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
    """Draw one shape into a frame (H, W, 3) uint8, cut at the frame's border."""
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
    """Return the places of the shapes of an event at one instant.

    Args:
        event: the event.
        phase: share of the event that is over, from 0 to 1.
        seconds: seconds since the event's start.
        aspect: width of the frame.
        rng: generator of size, place and speed; the same state gives the same event.
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


def frame_times(plan: FilmPlan) -> Iterator[float]:
    """Give the times of all frames in seconds, from 0 to the end of the film."""
    rng = generator(plan.seed, "times", plan.name)
    now, rates = Fraction(0), plan.form.rates
    while now < plan.duration:
        yield float(now)
        now += 1 / rates[int(rng.integers(len(rates)))]


def frames(plan: FilmPlan) -> Iterator[tuple[float, np.ndarray]]:
    """Give the time and the picture (H, W, 3) uint8 RGB of every frame."""
    width, height = plan.form.width, plan.form.height
    shots = iter(plan.shots)
    shot = next(shots)
    place, picture = "", np.empty(0)
    rng = generator(plan.seed, "grain", plan.name)
    grain = rng.normal(0, GRAIN, (4, height, width, 1)).round().astype(np.int16)
    for number, time in enumerate(frame_times(plan)):
        while time >= shot.end and shot is not plan.shots[-1]:
            shot = next(shots)
        if shot.place != place:
            place = shot.place
            rng = generator(plan.seed, "place", plan.name, str(shot.start))
            picture = background(place, width, height, rng) * np.array(plan.tint, np.float32)
            picture = picture.clip(8, 200).astype(np.uint8)
        frame = _frame(plan, shot, time, picture)
        yield time, (frame + grain[number % 4]).clip(0, 255).astype(np.uint8)


def _frame(plan: FilmPlan, shot: Shot, time: float, picture: np.ndarray) -> np.ndarray:
    frame = picture.copy()
    height, width = frame.shape[:2]
    if shot.event is None:
        return _filler(frame, shot, time)
    rng = generator(plan.seed, "event", plan.name, str(shot.start))
    phase = (time - shot.start) / (shot.end - shot.start)
    colour = np.array(COLOURS[shot.event.colour], np.uint8)
    for placed in placements(shot.event, phase, time - shot.start, width / height, rng):
        draw(frame, shot.event.shape, colour, placed)
    return frame


def _filler(frame: np.ndarray, shot: Shot, time: float) -> np.ndarray:
    """Draw a pause between events: a grey cloud, a flickering light, or a card with lines."""
    height, width = frame.shape[:2]
    if shot.filler == "cloud":
        y, x = np.mgrid[:height, :width] / height
        centre = 0.2 + (time - shot.start) * 0.25
        cloud = ((x - centre) / 0.22) ** 2 + ((y - 0.3) / 0.12) ** 2 < 1
        frame[cloud] = (150, 150, 152)
    elif shot.filler == "flicker" and int(time * 3) % 2:
        return (frame * 0.6).astype(np.uint8)
    elif shot.filler == "card":
        frame[:] = 28
        for line in range(3):
            top = round(height * (0.35 + 0.12 * line))
            frame[top : top + 3, width // 4 : width * (2 + line) // 5] = 165
    return frame


def render(plan: FilmPlan, folder: Path) -> Path:
    """Write a film to a folder, and return the path of the file, `<name>.<container>`."""
    path = folder / plan.file_name
    partial = folder / f".{plan.name}.partial.{plan.form.container}"
    with av.open(str(partial), "w") as container:
        stream = container.add_stream(plan.form.codec, rate=round(plan.form.rates[0]))
        stream.width, stream.height, stream.pix_fmt = plan.form.width, plan.form.height, "yuv420p"
        stream.codec_context.time_base = TIME_BASE
        stream.codec_context.gop_size = 40
        stream.codec_context.thread_count = 1
        stream.options = OPTIONS[plan.form.codec]
        for time, picture in frames(plan):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time / TIME_BASE), TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    os.replace(partial, path)
    return path
