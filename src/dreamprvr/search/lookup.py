"""Videos that were found, one after the other, so that their vectors are not in memory at once."""

from collections.abc import Iterator, Sequence

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
from dreamprvr.search.engine import Engine, Record
from dreamprvr.search.rows import RowStore, Sizes, sizes
from dreamprvr.search.vectors import Model

FETCHED = 2**21  # numbers that the engine is asked for at once; each takes it 32 bytes


def look_up(
    engine: Engine, model: Model, store: RowStore | None, video_ids: Sequence[str]
) -> Iterator[Record]:
    """Videos in the order asked, without those that are not there; segments may be missing.

    Raises:
        UserError: the engine gives other vectors than were put into it.
    """
    payloads = dict(engine.payloads(video_ids))
    waiting: list[str] = []
    numbers = 0
    for video_id in video_ids:
        if video_id not in payloads:
            continue
        record = store.read(video_id, payloads[video_id]) if store is not None else None
        if record is None:
            waiting.append(video_id)
            numbers += sum(sizes(payloads[video_id], model)) * model.dim
        if record is not None or numbers >= FETCHED:
            yield from _fetched(engine, model, waiting)
            waiting, numbers = [], 0
        if record is not None:
            yield record
    yield from _fetched(engine, model, waiting)


def _fetched(engine: Engine, model: Model, video_ids: Sequence[str]) -> Iterator[Record]:
    for record in engine.fetch(video_ids) if video_ids else []:
        found = Sizes(len(record.clips), len(record.frames), len(record.registers))
        if found != sizes(record.payload, model) or record.frames.shape[1] != model.dim:
            raise UserError(
                f"the engine's files are damaged: video {quote(record.video_id)} has other vectors "
                "than were indexed; index into a new folder"
            )
        yield record
