"""Convert decoded frames to upright sRGB pictures."""

from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from dreamprvr.video.source import VideoError

# Matrix coefficients as H.273 numbers them.
_BT709, _BT601, _BT2020 = 1, 6, 9
# RGB (wrong for YCbCr), unspecified, reserved, and three that follow from the primaries.
_AS_IF_UNTAGGED = {0, 2, 3, 10, 12, 13}
_RANGES = {0, 1, 2}  # unspecified, limited, full
_YADIF_SIDE = 3  # pixels of the smallest frame that the deinterlacer accepts
_UNIT = Fraction(1, 25)  # unit of time stamps within the deinterlacer
_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
_WHITE_NITS = 203.0  # brightness of a white page in HDR (BT.2408), which becomes 255
_HLG_PEAK_NITS, _HLG_GAMMA = 1000.0, 1.2  # the display for which HLG pictures are made
# Matrices from linear RGB of other primaries to linear RGB of sRGB.
_TO_SRGB = {
    ColorPrimaries.BT2020: (
        (1.660491, -0.587641, -0.072850),
        (-0.124550, 1.132900, -0.008349),
        (-0.018151, -0.100579, 1.118730),
    ),
    ColorPrimaries.SMPTE432: (
        (1.224940, -0.224940, 0.0),
        (-0.042057, 1.042057, 0.0),
        (-0.019638, -0.078636, 1.098274),
    ),
    # those of NTSC (SMPTE170M) are shown as they are, as browsers do
    ColorPrimaries.BT470BG: (
        (1.044043, -0.044043, 0.0),
        (0.0, 1.0, 0.0),
        (0.0, 0.011793, 0.988207),
    ),
}


def upright_size(frame: VideoFrame, aspect: float) -> tuple[float, float]:
    """Give the width and height of a frame in square pixels, after it has been turned.

    Args:
        frame: frame as it was decoded.
        aspect: width of a stored pixel divided by its height.
    """
    width, height = frame.width * max(aspect, 1.0), frame.height / min(aspect, 1.0)
    return (height, width) if _orientation(frame)[0] else (width, height)


def upright_rgb(
    frame: VideoFrame,
    size: tuple[int, int],
    before: VideoFrame | None = None,
    after: VideoFrame | None = None,
) -> np.ndarray:
    """Convert a frame to the picture that a player shows.

    Interlaced frames are deinterlaced, HDR is mapped to sRGB with 203 nits as white, transparent
    parts are shown over black, and the frame is turned and mirrored by its display matrix. Frames
    without a tag for their colour matrix are read as BT.709 if they are at least 1280 pixels wide
    or 720 high, else as BT.601.

    Args:
        frame: frame as it was decoded.
        size: width and height of the result in pixels.
        before: the frame before this one, if this one is interlaced.
        after: the frame after this one, likewise.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    swap, flips = _orientation(frame)
    stored = size[::-1] if swap else size
    frame.colorspace = _matrix(frame)
    if frame.color_range not in _RANGES:
        frame.color_range = 0
    if frame.interlaced_frame and min(frame.width, frame.height) >= _YADIF_SIDE:
        frame = _deinterlaced(frame, before, after)
    if is_hdr(frame) or frame.color_primaries in _TO_SRGB:
        pixels = _wide_to_srgb(frame, stored)
    else:
        pixels = _reformatted(_over_black(frame), "rgb24", stored)
    if swap:
        pixels = pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(np.flip(pixels, flips))


def upright_yuv(
    frame: VideoFrame,
    size: tuple[int, int],
    before: VideoFrame | None = None,
    after: VideoFrame | None = None,
) -> VideoFrame:
    """Convert a frame to the picture that a player shows, in the colours of BT.709, for encoders.

    Args:
        frame: frame as it was decoded.
        size: width and height of the result in pixels, both even.
        before: the frame before this one, if this one is interlaced.
        after: the frame after this one, likewise.

    Returns:
        A frame of the format yuv420p with the limited range and the matrix of BT.709. It shows the
        same as `upright_rgb`.
    """
    kind = frame.format
    is_plain = not (kind.is_rgb or kind.has_palette or any(c.is_alpha for c in kind.components))
    is_wide = is_hdr(frame) or frame.color_primaries in _TO_SRGB
    # converting by RGB takes several times as long, and full HD must be faster than it is played
    if (
        is_plain and not is_wide and not frame.interlaced_frame
        and _orientation(frame) == (False, ()) and _matrix(frame) == _BT709
    ):  # fmt: skip
        frame.colorspace = _BT709
        if frame.color_range not in _RANGES:
            frame.color_range = 0
        return frame.reformat(
            width=size[0], height=size[1], format="yuv420p",
            dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG,
            interpolation=_interpolation(frame, size),
        )  # fmt: skip
    pixels = VideoFrame.from_ndarray(upright_rgb(frame, size, before, after), "rgb24")
    return pixels.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )


def is_hdr(frame: VideoFrame) -> bool:
    """Check that a frame has the transfer curve of HDR10 or HLG."""
    return frame.color_trc in _HDR


def _orientation(frame: VideoFrame) -> tuple[bool, tuple[int, ...]]:
    """Return True if rows and columns change places, and the axes to flip after that."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, ()
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    swap = abs(b) + abs(c) > abs(a) + abs(d)
    down, right = (b, c) if swap else (d, a)
    return swap, (0,) * (down < 0) + (1,) * (right < 0)


def _matrix(frame: VideoFrame) -> int:
    """Return the matrix coefficients of a frame, or the most likely ones if it has no tag."""
    if frame.format.is_rgb or frame.colorspace not in _AS_IF_UNTAGGED:
        return frame.colorspace
    by_primaries = {
        ColorPrimaries.BT709: _BT709, ColorPrimaries.BT470BG: _BT601,
        ColorPrimaries.SMPTE170M: _BT601, ColorPrimaries.BT2020: _BT2020,
    }  # fmt: skip
    by_size = _BT709 if frame.width >= 1280 or frame.height >= 720 else _BT601
    return by_primaries.get(frame.color_primaries, by_size)  # type: ignore[call-overload]


def _reformatted(frame: VideoFrame, format: str, size: tuple[int, int]) -> np.ndarray:
    try:
        return frame.to_ndarray(
            format=format, width=size[0], height=size[1],
            interpolation=_interpolation(frame, size),
        )  # fmt: skip
    except OSError:
        raise VideoError(
            f"its colours are of a kind that cannot be converted (matrix {frame.colorspace}, "
            f"{frame.format.name})"
        ) from None


def _interpolation(frame: VideoFrame, size: tuple[int, int]) -> str:
    return "AREA" if size[0] < frame.width or size[1] < frame.height else "BICUBIC"


def _over_black(frame: VideoFrame) -> VideoFrame:
    """Return the frame itself, or a copy over black if it is transparent in parts."""
    kind = frame.format
    if not kind.has_palette and not any(part.is_alpha for part in kind.components):
        return frame
    rgba = frame.to_ndarray(format="rgba").astype(np.uint16)
    if rgba[..., 3].min() == 255:
        return frame
    seen = (rgba[..., :3] * rgba[..., 3:] + 127) // 255
    return VideoFrame.from_ndarray(seen.astype(np.uint8), "rgb24")


def _deinterlaced(
    frame: VideoFrame, before: VideoFrame | None, after: VideoFrame | None
) -> VideoFrame:
    """Return the earlier field of a frame, its missing lines interpolated from their neighbours."""
    near = [
        item for item in (before, frame, after) if item is not None and _kind(item) == _kind(frame)
    ]
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=_UNIT
    )
    deinterlacer = graph.add("yadif", "mode=send_frame:parity=auto:deint=all")
    graph.link_nodes(source, deinterlacer, graph.add("buffersink")).configure()
    for place, item in enumerate(near):
        item.pts, item.time_base = place, _UNIT
        graph.vpush(item)
    graph.vpush(None)
    results = [graph.vpull() for _ in range(near.index(frame) + 1)]
    result = results[-1]
    result.colorspace, result.color_range = frame.colorspace, frame.color_range
    return result


def _kind(frame: VideoFrame) -> tuple[object, ...]:
    return frame.width, frame.height, frame.format.name


def _wide_to_srgb(frame: VideoFrame, size: tuple[int, int]) -> np.ndarray:
    """Convert wide gamut or HDR to sRGB; light that is brighter than white becomes white."""
    coded = _reformatted(frame, "rgb48le", size)
    linear = _linear(frame.color_trc)[coded]
    if frame.color_trc == ColorTrc.ARIB_STD_B67:
        light = linear @ np.array([0.2627, 0.6780, 0.0593], np.float32)
        scale = _HLG_PEAK_NITS / _WHITE_NITS * np.maximum(light, 1e-6) ** (_HLG_GAMMA - 1)
        linear = linear * scale[..., None]
    primaries = frame.color_primaries
    if primaries in _TO_SRGB:
        matrix = np.array(_TO_SRGB[ColorPrimaries(primaries)], np.float32)
        linear = linear @ matrix.T
    return _srgb()[np.rint(np.clip(linear, 0, 1) * 65535).astype(np.uint16)]


@cache
def _linear(transfer: int) -> np.ndarray:
    """Tabulate the light of each coded value, (65536,) float32.

    1 is white, except for HLG, where it is the peak of the scene.
    """
    x = np.linspace(0, 1, 65536)
    if transfer == ColorTrc.SMPTE2084:
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        power = x ** (1 / m2)
        light = (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) * 10_000 / _WHITE_NITS
    elif transfer == ColorTrc.ARIB_STD_B67:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(x <= 0.5, x**2 / 3, (np.exp((x - c) / a) + b) / 12)
    else:  # as sRGB, so that greys are unchanged
        light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


@cache
def _srgb() -> np.ndarray:
    """Tabulate the sRGB value of linear light from 0 to 1, (65536,) uint8."""
    x = np.linspace(0, 1, 65536)
    coded = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return np.rint(coded * 255).astype(np.uint8)
