"""Colours, transparency, interlacing and orientation, as players show them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from extraction.movies import SIZE, constant, picture, seconds_of, write_movie
from shared import DATA, needs_data
from video.odd_files import first_pixels, painted, rows_of

from dreamprvr.video.picture import upright_rgb
from dreamprvr.video.reader import VideoReader
from dreamprvr.video.source import VideoError

RED = (192, 48, 32)
BT709, SMPTE170M, BT2020 = 1, 6, 9  # as H.273 numbers matrices and primaries
PQ, HLG = 16, 18  # transfer curves
LIMITED, FULL = 1, 2


def plain(colour: tuple[int, ...], width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, len(colour)), colour, np.uint8)


def assert_colour(path: Path, colour: tuple[int, ...], within: int = 4) -> None:
    pixels = first_pixels(path).reshape(-1, 3).astype(int)
    assert np.abs(pixels - np.array(colour)).max() <= within


# size, matrix of the pixels, tags
YUV = {
    "sd": ((64, 48), SMPTE170M, {}),
    "hd": ((1280, 720), BT709, {}),
    "wide": ((1280, 536), BT709, {}),
    "portrait": ((720, 1280), BT709, {}),
    "sd_tagged_709": ((64, 48), BT709, {"colorspace": BT709}),
    "hd_tagged_601": ((1280, 720), SMPTE170M, {"colorspace": SMPTE170M}),
    "sd_primaries_709": ((64, 48), BT709, {"color_primaries": BT709}),
    "full": ((64, 48), SMPTE170M, {"color_range": FULL, "pix_fmt": "yuvj420p"}),
}


@pytest.mark.parametrize("name", YUV)
def test_matrix_and_range(tmp_path: Path, name: str) -> None:
    """Tagged files are read as tagged, others as browsers and players read them."""
    size, matrix, tags = YUV[name]
    path = tmp_path / "a.mp4"
    options = {"preset": "ultrafast", "crf": "10"}
    settings = {"pix_fmt": "yuv420p", **tags}
    painted(path, plain(RED, *size), "libx264", matrix=matrix, options=options, count=2, **settings)
    assert_colour(path, RED)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p10le"), ("a.mp4", "libx264", "yuv444p"),
        ("a.mkv", "libx264", "yuv422p10le"), ("a.mp4", "libx264rgb", "rgb24"),
        ("a.mkv", "ffv1", "bgr0"), ("a.mkv", "rawvideo", "nv12"), ("a.avi", "mjpeg", "yuvj420p"),
        ("a.gif", "gif", "rgb8"), ("a.mkv", "ffv1", "gbrp10le"),
    ],
)  # fmt: skip
def test_formats_of_pixels(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    path = painted(tmp_path / name, plain(RED), codec, pix_fmt)
    np.testing.assert_allclose(first_pixels(path).mean((0, 1)), RED, atol=4)


@pytest.mark.parametrize("matrix", [0, 3, 12])
def test_tags_without_a_meaning_are_ignored(matrix: int) -> None:
    frame = av.VideoFrame.from_ndarray(plain(RED), "rgb24").reformat(format="yuv420p")
    frame.colorspace, frame.color_primaries, frame.color_range = matrix, 0, 9
    np.testing.assert_allclose(upright_rgb(frame, (64, 48)).mean((0, 1)), RED, atol=4)


def test_colours_that_cannot_be_converted_are_named() -> None:
    frame = av.VideoFrame(64, 48, "yuv444p")
    frame.colorspace = 8
    with pytest.raises(VideoError, match=r"cannot be converted \(matrix 8, yuv444p\)"):
        upright_rgb(frame, (64, 48))


def test_grey_and_odd_sizes(tmp_path: Path) -> None:
    assert_colour(painted(tmp_path / "a.mkv", plain((200,) * 3), pix_fmt="gray"), (200,) * 3, 1)
    path = painted(tmp_path / "b.mkv", plain(RED, 127, 63))
    assert first_pixels(path).shape == (63, 127, 3)
    assert_colour(path, RED)


def hdr(path: Path, colour: tuple[int, ...], transfer: int) -> Path:
    """A film that shows an sRGB colour with 203 nits as white, in BT.2020."""
    x = np.array(colour) / 255
    light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    to_2020 = np.array(
        [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.088, 0.8956]]
    )
    nits = to_2020 @ light * 203
    if transfer == PQ:
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        y = (nits / 10_000) ** m1
        coded = ((c1 + c2 * y) / (1 + c3 * y)) ** m2
    else:
        shown = nits / 1000
        scene = shown * max(shown @ [0.2627, 0.678, 0.0593], 1e-9) ** (1 / 1.2 - 1)
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        coded = np.where(scene <= 1 / 12, np.sqrt(3 * scene),
                         a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)  # fmt: skip
    pixels = np.empty((48, 64, 3), np.uint16)
    pixels[:] = np.rint(coded * 65535)
    return painted(
        path, pixels, "ffv1", "yuv420p10le", matrix=BT2020, colorspace=BT2020,
        color_primaries=BT2020, color_trc=transfer, color_range=LIMITED,
    )  # fmt: skip


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("colour", [(255, 255, 255), RED, (40, 90, 200), (0, 0, 0), (90, 90, 90)])
def test_hdr_is_mapped_to_srgb(tmp_path: Path, colour: tuple[int, ...], transfer: int) -> None:
    path = hdr(tmp_path / "a.mkv", colour, transfer)
    assert_colour(path, colour)
    reader = VideoReader(path)
    list(reader)
    assert reader.warnings == ["HDR: its colours were mapped to those of an ordinary screen (sRGB)"]


def test_a_wide_gamut_without_hdr(tmp_path: Path) -> None:
    """Red of BT.2020 lies outside sRGB; greys do not change."""
    tags = {"colorspace": BT2020, "color_primaries": BT2020, "color_trc": BT709}
    for colour, wanted in (((90, 90, 90), (90, 90, 90)), ((200, 100, 100), (238, 73, 96))):
        path = painted(tmp_path / "a.mkv", plain(colour), matrix=BT2020, **tags)
        assert_colour(path, wanted, 5)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mov", "qtrle", "argb"), ("a.mov", "png", "rgba"),
        ("a.mov", "prores_ks", "yuva444p10le"), ("a.mkv", "ffv1", "yuva420p"),
        ("a.webm", "libvpx-vp9", "yuva420p"),
    ],
)  # fmt: skip
def test_transparent_parts_lie_over_black(
    tmp_path: Path, name: str, codec: str, pix_fmt: str
) -> None:
    pixels = plain((0, 255, 0, 0))  # hidden green
    pixels[:24, :32] = (0, 0, 255, 255)
    pixels[24:, 32:] = (200, 100, 50, 128)
    shown = first_pixels(painted(tmp_path / name, pixels, codec, pix_fmt)).astype(int)
    black = (0, 0, 0)
    wanted = {(8, 8): (0, 0, 255), (40, 8): black, (8, 56): black, (40, 56): (100, 50, 25)}
    for place, colour in wanted.items():
        assert np.abs(shown[place] - colour).max() <= 8


MATRICES = {
    "as it is": (1, 0, 0, 1), "left": (0, -1, 1, 0), "right": (0, 1, -1, 0), "half": (-1, 0, 0, -1),
    "mirrored": (-1, 0, 0, 1), "upside down": (1, 0, 0, -1),
    "diagonal": (0, 1, 1, 0), "other diagonal": (0, -1, -1, 0),
}  # fmt: skip
UPRIGHT = {
    "as it is": lambda s: s, "left": lambda s: np.rot90(s), "right": lambda s: np.rot90(s, -1),
    "half": lambda s: s[::-1, ::-1], "mirrored": lambda s: s[:, ::-1],
    "upside down": lambda s: s[::-1], "diagonal": lambda s: s.transpose(1, 0, 2),
    "other diagonal": lambda s: np.rot90(s.transpose(1, 0, 2), 2),
}  # fmt: skip


@pytest.mark.parametrize("name", MATRICES)
def test_all_eight_orientations(tmp_path: Path, name: str) -> None:
    """Chromium shows the mirrored ones just so."""
    corners = plain((0, 0, 0))
    corners[:24, :32], corners[:24, 32:], corners[24:, :32] = (250,) * 3, (250, 0, 0), (0, 0, 250)
    path = painted(tmp_path / "a.mp4", corners, "libx264rgb", "rgb24", options={"crf": "0"})
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = MATRICES[name]
    matrix = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(data)
    shown = next(VideoReader(path).read())
    wanted = UPRIGHT[name](corners)
    assert shown.size == wanted.shape[1::-1]
    assert np.abs(shown.pixels().astype(int) - wanted).max() <= 3


def interlaced(path: Path) -> Path:
    """Frames whose odd lines show an instant, and whose even ones show one 0.04 s later."""
    with av.open(path, "w") as writer:
        stream = writer.add_stream("libx264", rate=Fraction(25, 2))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv444p"
        stream.options = {"x264-params": "bff=1", "crf": "12"}
        for i in range(100):
            pixels = picture(i * 0.08 + 0.04)
            pixels[1::2] = picture(i * 0.08)[1::2]
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = i, Fraction(2, 25)
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    return path


def test_interlaced_pictures_are_clean(tmp_path: Path) -> None:
    path = interlaced(tmp_path / "a.mp4")
    reader = VideoReader(path)
    shown = list(reader)
    assert [seconds_of(item.pixels()) for item in shown] == pytest.approx(
        [i * 0.08 for i in range(100)]
    )
    np.testing.assert_allclose(
        [item.begin for item in shown], [i * 0.08 for i in range(100)], atol=1e-4
    )
    rows, _ = rows_of(path)
    assert len(rows) == 8
    for item in shown:  # no line differs from the ones beside it within a row of bars
        lines = item.pixels()[4:28, ::16].astype(int)
        assert np.abs(np.diff(lines, axis=0)).max() < 60


def test_frames_beside_an_interlaced_one_may_be_of_another_kind(tmp_path: Path) -> None:
    shown = list(VideoReader(interlaced(tmp_path / "a.mp4")))
    other = next(VideoReader(painted(tmp_path / "b.mkv", plain(RED))).read())._frame
    for before, after in ((None, None), (other, None), (other, other)):
        pixels = upright_rgb(shown[20]._frame, SIZE, before, after)
        assert seconds_of(pixels) == pytest.approx(1.6)


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = painted(
        tmp_path / "a.mp4", plain(RED, 64, 48), "libx264", sample_aspect_ratio=Fraction(4, 3)
    )
    assert first_pixels(path).shape == (48, 85, 3)


def test_a_change_of_the_pixels_aspect_in_mid_stream(tmp_path: Path) -> None:
    data = b""
    for aspect in (Fraction(16, 15), Fraction(64, 45)):
        part = painted(
            tmp_path / "part.ts", plain(RED, 352, 288), "mpeg2video", count=25,
            sample_aspect_ratio=aspect,
        )  # fmt: skip
        data += part.read_bytes()
    (tmp_path / "a.ts").write_bytes(data)
    shown = list(VideoReader(tmp_path / "a.ts"))
    assert len(shown) == 50
    assert round(shown[10].size[0]) == 384  # MPEG-2 knows 4:3 and 16:9 of the whole picture
    assert round(shown[-1].size[0]) == 512


def test_a_change_of_size_in_mid_stream(tmp_path: Path) -> None:
    data = b""
    for number, size in enumerate(((128, 64), (256, 128), (128, 64))):
        part = tmp_path / "part.ts"
        write_movie(part, constant(2, 25, number * 2), size=size, keyframes=25)
        data += part.read_bytes()
    (tmp_path / "a.ts").write_bytes(data)
    shown = list(VideoReader(tmp_path / "a.ts"))
    np.testing.assert_allclose([seconds_of(s.pixels()) for s in shown], constant(6, 25), atol=0.006)
    assert [shown[i].size for i in (0, 60, 120)] == [(128, 64), (256, 128), (128, 64)]


EXPECTED = {
    "hdr_white.mp4": (255, 255, 255), "hdr_red.mp4": RED, "col_untagged_hd709.mp4": RED,
    "alpha_hidden.mov": (0, 0, 64),
}  # fmt: skip


@needs_data
@pytest.mark.parametrize("name", EXPECTED)
def test_colours_of_files_from_outside(name: str) -> None:
    mean = first_pixels(DATA / "hard_inputs" / name).mean((0, 1))
    np.testing.assert_allclose(mean, EXPECTED[name], atol=4)


@needs_data
def test_files_from_outside() -> None:
    folder = DATA / "hard_inputs"
    assert rows_of(folder / "hflip.mp4")[0][0][0] == 0.16
    assert rows_of(folder / "vflip.mp4")[0][0][0] == 20.48
    rows, _ = rows_of(folder / "interlaced.mp4")
    assert [row[0] for row in rows] == [0.08, 1.04, 2.08, 3.04, 4.08, 5.04, 6.08, 7.04]
