"""The words of a library's subtitles, in a full-text index of SQLite beside the engine.

A library may come from a stranger, and so may this file. It is opened for reading only, after a
check that it holds our tables and nothing else, and it is never changed in place: a writer changes
a copy, which then takes its place.
"""

import math
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path, check_free_disk, open_regular, sync
from dreamprvr.search.manifest import SPOKEN
from dreamprvr.search.subtitles import Passage, find_files, read_passages, skipped, words_of

LEAST = 0.5  # share of a sentence that a passage must hold, weighted by how rare the words are
COMMON, FEW = 0.1, 10  # share and number of passages above which a word says nothing
FOUND = 100  # most videos that are found by their words
READ = 10_000  # most passages that are looked at
WORDS = 64  # most words of a sentence that count
_TABLES = (
    "CREATE TABLE files (video TEXT PRIMARY KEY, sign TEXT)",
    "CREATE TABLE passages (id INTEGER PRIMARY KEY, video TEXT, start REAL, stop REAL, shown TEXT)",
    "CREATE INDEX videos ON passages (video)",
    "CREATE VIRTUAL TABLE words USING fts5 (said, tokenize = 'unicode61 remove_diacritics 2')",
)
_SHADOWS = {f"words_{name}" for name in ("data", "idx", "content", "docsize", "config")}


class Spoken(NamedTuple):
    """A passage that holds words of a sentence.

    Args:
        video_id: id of the video.
        passage: the passage.
        share: share of the sentence that it holds, weighted by how rare the words are, 0 to 1.
    """

    video_id: str
    passage: Passage
    share: float


class SpokenWords:
    """The full-text index of a library's subtitles.

    Args:
        folder: folder of the library.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / SPOKEN

    # Writing

    def update(self, videos: Mapping[str, tuple[Path, float]], known: Iterable[str]) -> list[str]:
        """Read the subtitles of videos whose files have changed, and forget those of other videos.

        Args:
            videos: path and seconds of each video that may be read, by id.
            known: ids of all videos of the library.

        Returns:
            Warnings, one line each.
        """
        files = find_files({video_id: path for video_id, (path, _) in videos.items()})
        signs = {video_id: _sign(paths) for video_id, paths in files.items()}
        held = self._signs()
        gone = held.keys() - set(known)
        changed = [name for name, sign in signs.items() if sign != held.get(name, "")]
        if not gone and not changed:
            return []
        warnings: list[str] = []
        with self._writing() as database:
            for video_id in (*gone, *changed):
                _forget(database, video_id)
            for video_id in changed:
                if not signs[video_id]:
                    continue
                database.execute("INSERT INTO files VALUES (?, ?)", (video_id, signs[video_id]))
                for path in files[video_id]:
                    try:
                        passages = read_passages(path, videos[video_id][1])
                    except UserError as error:
                        warnings.append(skipped(error))
                        continue
                    _add(database, video_id, passages)
        return warnings

    def delete(self, video_ids: Iterable[str]) -> None:
        """Forget the subtitles of videos."""
        gone = self._signs().keys() & set(video_ids)
        if gone:
            with self._writing() as database:
                for video_id in gone:
                    _forget(database, video_id)

    def _signs(self) -> dict[str, str]:
        with self._reading() as database:
            return {} if database is None else dict(database.execute("SELECT * FROM files"))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Yield a copy of the file, which takes the file's place at the end."""
        with self._reading() as checked:
            is_new = checked is None
        with atomic_path(self.path) as partial:
            if not is_new:
                check_free_disk(self.path.parent, self.path.stat().st_size, "writing subtitles")
                shutil.copyfile(self.path, partial)
            try:
                with closing(sqlite3.connect(partial)) as database:
                    # the file is a copy: if this fails, it is thrown away
                    database.execute("PRAGMA journal_mode = OFF")
                    database.execute("PRAGMA trusted_schema = OFF")
                    if is_new:
                        for table in _TABLES:
                            database.execute(table)
                    yield database
                    database.commit()
            except sqlite3.Error as error:
                raise UserError(
                    f"cannot write {self.path}: {error}; make room, or remove the file, and index "
                    "again"
                ) from None
            sync(partial)

    # Reading

    def find(self, text: str, allowed: Callable[[str], bool]) -> list[list[Spoken]]:
        """Find the videos in which the words of a sentence are spoken.

        Words that many passages have say nothing and are left out. A passage counts if it holds at
        least half of the other words, weighted by how rare they are. Passages are ranked by BM25.

        Args:
            text: the sentence.
            allowed: returns whether the video of an id may be found.

        Returns:
            The passages of each video, best first, in the order of the videos' best passages.
        """
        with self._reading() as database:
            if database is None:
                return []
            weights = _weights(database, list(dict.fromkeys(words_of(text)))[:WORDS])
            if not weights:
                return []
            asked = " OR ".join(f'"{word}"' for word in weights)
            rows = database.execute(
                "SELECT video, start, stop, shown FROM words JOIN passages ON passages.id = "
                "words.rowid WHERE words MATCH ? ORDER BY bm25(words), passages.id LIMIT ?",
                (asked, READ),
            )
            found: dict[str, list[Spoken]] = {}
            for video_id, start, end, shown in rows:
                if not isinstance(video_id, str) or not allowed(video_id):
                    continue
                passage = Passage(float(start), float(end), str(shown))
                said = set(words_of(passage.words)) & weights.keys()
                share = sum(weights[word] for word in said) / sum(weights.values())
                if share >= LEAST and (video_id in found or len(found) < FOUND):
                    found.setdefault(video_id, []).append(Spoken(video_id, passage, share))
            return list(found.values())

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """Yield the file, open for reading only; None if there is none.

        Raises:
            UserError: it is damaged, or holds something else than our tables.
        """
        try:
            os.close(open_regular(self.path))
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror}") from None
        address = f"file:{quote_from_bytes(bytes(self.path.absolute()))}?mode=ro"
        try:
            with closing(sqlite3.connect(address, uri=True)) as database:
                database.execute("PRAGMA trusted_schema = OFF")
                database.execute("PRAGMA cell_size_check = ON")
                rows = database.execute("SELECT name, sql FROM sqlite_master").fetchall()
                ours = {sql for name, sql in rows if name not in _SHADOWS and sql is not None}
                if ours != set(_TABLES):
                    raise sqlite3.DatabaseError("it holds other tables")
                yield database
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
            raise UserError(
                f"{self.path} is damaged ({error}): remove it and index again, or search without "
                "subtitles"
            ) from None


def has_index() -> bool:
    """Return whether this Python's SQLite has the full-text index."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(":memory:")) as database:
        database.execute(_TABLES[-1])
        return True
    return False


def _weights(database: sqlite3.Connection, words: Sequence[str]) -> dict[str, float]:
    """Weigh words by how rare they are; those that say nothing are left out.

    Args:
        database: the index, open.
        words: the words, all different.
    """
    (passages,) = database.execute("SELECT count(*) FROM passages").fetchone()
    database.execute("CREATE VIRTUAL TABLE temp.held USING fts5vocab (main, words, row)")
    weights = {}
    for word in words:
        row = database.execute("SELECT doc FROM temp.held WHERE term = ?", (word,)).fetchone()
        count = 1 if row is None else int(row[0])  # an unknown word weighs no more than a rare one
        if count <= max(FEW, COMMON * passages):
            weights[word] = math.log(1 + (passages + 1) / (count + 0.5))
    return weights


def _sign(paths: Iterable[Path]) -> str:
    """Write what tells that files have changed: names, sizes and times; "" without files."""
    signs = []
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            signs.append(f"{path.name!a} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(signs)


def _forget(database: sqlite3.Connection, video_id: str) -> None:
    database.execute(
        "DELETE FROM words WHERE rowid IN (SELECT id FROM passages WHERE video = ?)", (video_id,)
    )
    for table in ("passages", "files"):
        database.execute(f"DELETE FROM {table} WHERE video = ?", (video_id,))


def _add(database: sqlite3.Connection, video_id: str, passages: Iterable[Passage]) -> None:
    for start, end, shown in passages:
        row = database.execute(
            "INSERT INTO passages (video, start, stop, shown) VALUES (?, ?, ?, ?)",
            (video_id, start, end, shown),
        ).lastrowid
        words = " ".join(words_of(shown))
        database.execute("INSERT INTO words (rowid, said) VALUES (?, ?)", (row, words))
