"""Stills, clips and pieces have the colours that went into a video, and those of a player."""

import io
import urllib.request
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from serve.browsing import Server
from serve.fake import FakeLibrary, keeper_of
from video.odd_files import painted
from video.test_picture import HLG, PQ, hdr

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.app import create_app
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import source_file
from dreamprvr.serve.media import Media
from dreamprvr.serve.schema import video_key

COLOURS = [(192, 48, 32), (40, 160, 90), (50, 70, 220), (230, 220, 50), (128, 128, 128),
           (250, 250, 250), (12, 12, 12), (220, 60, 210)]  # fmt: skip
SD, HD = (320, 240), (1280, 720)
BT709, PAL, SMPTE170M = 1, 5, 6  # matrices, primaries and transfers as H.273 numbers them
LIMITED, FULL = 1, 2


def tags(matrix: int, primaries: int, color_range: int) -> dict[str, Any]:
    pixels = "yuvj420p" if color_range == FULL else "yuv420p"
    return {
        "colorspace": matrix, "color_primaries": primaries, "color_trc": primaries,
        "color_range": color_range, "pix_fmt": pixels,
    }  # fmt: skip


# size, matrix of the pixels, tags
FILMS = {
    "sd": (SD, SMPTE170M, {}),
    "hd": (HD, BT709, {}),
    "sd_601_limited": (SD, SMPTE170M, tags(SMPTE170M, SMPTE170M, LIMITED)),
    "sd_601_full": (SD, SMPTE170M, tags(SMPTE170M, SMPTE170M, FULL)),
    "sd_709_limited": (SD, BT709, tags(BT709, BT709, LIMITED)),
    "hd_601_limited": (HD, SMPTE170M, tags(SMPTE170M, SMPTE170M, LIMITED)),
    "hd_709_limited": (HD, BT709, tags(BT709, BT709, LIMITED)),
    "hd_709_full": (HD, BT709, tags(BT709, BT709, FULL)),
    "hd_709_ten_bits": (HD, BT709, {**tags(BT709, BT709, LIMITED), "pix_fmt": "yuv420p10le"}),
}


def bars(size: tuple[int, int]) -> np.ndarray:
    """A picture (H, W, 3) uint8 of a bar for each colour."""
    width, height = size
    return np.asarray(COLOURS, np.uint8)[np.arange(width) * len(COLOURS) // width][None].repeat(
        height, axis=0
    )


def colours(pixels: np.ndarray) -> np.ndarray:
    """Return the colour in the middle of each bar, (8, 3)."""
    height, width = pixels.shape[:2]
    middles = (2 * np.arange(len(COLOURS)) + 1) * width // (2 * len(COLOURS))
    return pixels[height // 2, middles, :3].astype(int)


def made(folder: Path, name: str) -> Path:
    size, matrix, settings = FILMS[name]
    options = {"preset": "ultrafast", "crf": "4"}
    return painted(
        folder / f"{name}.mp4", bars(size), "libx264", matrix=matrix, options=options, count=75,
        **{"pix_fmt": "yuv420p", **settings},
    )  # fmt: skip


def outputs(path: Path, cache: Path) -> dict[str, np.ndarray]:
    """Return the pixels of a still, and of a clip and a piece as their tags say."""
    media = Media(CacheFolder(cache, 10**8))
    file = source_file(LibraryVideo("v", path, 3.0, {}))
    found = {}
    with Image.open(media.still(file, 1.0, lambda: None)) as image:
        found["still"] = np.asarray(image)
    for kind, target in (
        ("clip", media.clip(file, 0.0, 0.2, lambda: None)),
        ("piece", media.piece(file, 0, lambda: None)),
    ):
        with av.open(target) as container:
            frame = next(container.decode(video=0))
            assert (frame.colorspace, frame.color_range) == (BT709, LIMITED)
            assert (frame.color_primaries, frame.color_trc) == (BT709, BT709)
            assert frame.format.name == "yuv420p"
            found[kind] = frame.to_ndarray(format="rgb24")
    media.passes.close_idle(0.0)
    return found


@pytest.mark.parametrize("name", FILMS)
def test_what_comes_out_has_the_colours_that_went_in(tmp_path: Path, name: str) -> None:
    for kind, pixels in outputs(made(tmp_path, name), tmp_path / "cache").items():
        error = np.abs(colours(pixels) - COLOURS).max()
        assert error <= 6, f"{kind}: {colours(pixels).tolist()}"


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("colour", [(255, 255, 255), (192, 48, 32), (90, 90, 90)])
def test_hdr_comes_out_as_sdr(tmp_path: Path, transfer: int, colour: tuple[int, ...]) -> None:
    path = hdr(tmp_path / "a.mkv", colour, transfer)
    for kind, pixels in outputs(path, tmp_path / "cache").items():
        assert np.abs(pixels.astype(int) - colour).max() <= 7, kind


PIXELS = """async ([address, second, bars]) => {
  const video = document.createElement("video");
  video.muted = true;
  video.src = address;
  await new Promise((done, failed) => {
    video.onloadeddata = done;
    video.onerror = () => failed(new Error(video.error.message));
  });
  video.currentTime = second;
  await new Promise((done) => { video.onseeked = done; });
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  for (let tries = 0; ; tries++) {  // a busy machine has no picture yet
    context.drawImage(video, 0, 0);
    const found = [...Array(bars).keys()].map((bar) => [...context.getImageData(
      Math.floor((2 * bar + 1) * canvas.width / (2 * bars)), canvas.height >> 1, 1, 1).data]);
    if (tries === 100 || found.some(([red, green, blue]) => red + green + blue)) return found;
    await new Promise((done) => { setTimeout(done, 50); });
  }
}"""


@pytest.mark.slow
def test_a_player_shows_the_same(browser: Any, tmp_path: Path) -> None:
    """Chromium's own error for BT.709 without a graphics card is 8; a wrong matrix gives 25."""
    paths = {name: made(tmp_path, name) for name in FILMS if "ten_bits" not in name}
    primaries = tags(PAL, PAL, LIMITED) | {"color_trc": SMPTE170M}
    paths["pal"] = painted(
        tmp_path / "pal.mp4", bars(SD), "libx264", matrix=PAL, count=75,
        options={"preset": "ultrafast", "crf": "4"}, **primaries,
    )  # fmt: skip
    library = FakeLibrary([LibraryVideo(name, path, 3.0, {}) for name, path in paths.items()])
    page = browser.new_page()
    with Server(create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")) as server:
        page.goto(server.address)
        page.wait_for_selector(".welcome")

        def shown(address: str) -> np.ndarray:
            return np.array(page.evaluate(PIXELS, [address, 0.5, len(COLOURS)]))[:, :3]

        for name in paths:
            place = f"/api/videos/{video_key(name)}"
            played = shown(f"{place}/media")
            with urllib.request.urlopen(f"{server.address}{place}/thumbnail?t=0.5") as answer:
                still = colours(np.asarray(Image.open(io.BytesIO(answer.read()))))
            for kind, found in (
                ("still", still), ("clip", shown(f"{place}/clip.mp4?start=0&end=2")),
                ("piece", shown(f"{place}/pieces/0.mp4")),
            ):  # fmt: skip
                assert np.abs(found - played).max() <= 13, f"{name}, {kind}: {found} {played}"
        page.close()
