"""Puts the streams of a video into an mp4 as they are."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av

from dreamprvr.serve.containers import readable
from dreamprvr.serve.transcode import FRONT, Report
from dreamprvr.video.source import open_video


def copy_streams(source: Path, target: Path, report: Report) -> None:
    """Put the first picture and sound into an mp4 without encoding them again.

    Raises:
        UserError: the source cannot be read.
    """
    with (
        readable(source),
        open_video(source) as (reader, picture),
        av.open(target, "w", format="mp4", container_options=FRONT) as writer,
    ):
        length = float((reader.duration or 0) / av.time_base) or 1.0
        streams = [picture, *reader.streams.audio[:1]]
        copies = {stream.index: writer.add_stream_from_template(stream) for stream in streams}
        for packet in _timed(reader.demux(streams)):
            report(0.99 * max(float(packet.dts * packet.time_base) / length, 0.0))
            packet.stream = copies[packet.stream.index]
            writer.mux(packet)


def _timed(packets: Iterable[Any]) -> Iterator[Any]:
    """Packets, all with a decoding time: where frames are reordered, Matroska's first have none."""
    waiting: dict[int, list[Any]] = {}
    for packet in packets:
        if packet.pts is None and packet.dts is None:  # the empty one at the end
            continue
        held = waiting.setdefault(packet.stream.index, [])
        if packet.dts is None:
            held.append(packet)
            continue
        yield from _backdated(held, packet.dts)
        held.clear()
        yield packet
    for held in waiting.values():
        yield from _backdated(held, min((packet.pts for packet in held), default=0))


def _backdated(packets: list[Any], dts: int) -> Iterator[Any]:
    """Packets with decoding times that lead up to that of the next one."""
    for i, packet in enumerate(packets):
        packet.dts = dts - (len(packets) - i) * (packet.duration or 1)
        yield packet
