"""From the plan of a film to a video file, frame by frame with numpy and PyAV."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from data_modules.generation.folders import generator
from tests.kit.drawing import background, draw, placements
from tests.kit.film_plan import FilmPlan, Shot
from tests.kit.vocabulary import COLOURS

TIME_BASE = Fraction(1, 12_000)  # all rates of `film_plan.FORMS` divide it
GRAIN = 2.0  # standard deviation of the film's grain, of 255
OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "ultrafast", "crf": "23"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:frame-threads=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"},
    "mpeg4": {"q": "4", "flags": "+qscale"},
}


def frame_times(plan: FilmPlan) -> Iterator[float]:
    """Presentation times of all frames in seconds, from 0 to the end of the film."""
    rng = generator(plan.seed, "times", plan.name)
    now, rates = Fraction(0), plan.form.rates
    while now < plan.duration:
        yield float(now)
        now += 1 / rates[int(rng.integers(len(rates)))]


def frames(plan: FilmPlan) -> Iterator[tuple[float, np.ndarray]]:
    """Time and picture (H, W, 3) uint8 RGB of every frame."""
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
    """What goes on between events: a grey cloud, a flickering light, a card with lines."""
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
    """Write the film's file into a folder, in one step.

    Returns:
        The file, `<name>.<container>`.
    """
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
