"""A file of word features that grows some captions at a time, and survives being killed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.parts import PartsFolder
from dreamprvr.extraction.text_file import CaptionWords, TextFile, TextSettings, write_text_file


class TextStore:
    """The output of `extract-text`, opened by one process at a time; a context manager.

    Args:
        output: the file; it need not be there yet.
        settings: of this run.

    Attributes:
        texts: of the captions that are there, by id.

    Raises:
        UserError: another run writes it, it is of another encoder, or it is something else.
    """

    def __init__(self, output: Path, settings: TextSettings) -> None:
        self.output, self.settings = output, settings
        self.parts = PartsFolder(output, "extract-text")
        self.texts: dict[str, str] = {}
        self._files: dict[str, Path] = {}

    def __enter__(self) -> "TextStore":
        self.parts.hold()
        try:
            for path in [self.output] if self.output.exists() else []:
                self._take(path, "give another -o")
            for path in self.parts.files():
                self._take(path, f"an earlier run left it: delete {self.parts.path}")
        except BaseException:
            self.parts.release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.parts.release()

    def add(self, captions: Sequence[CaptionWords]) -> None:
        """Keep captions: once this returns, they survive whatever happens."""
        number = max((int(path.stem) for path in self.parts.files()), default=0) + 1
        path = self.parts.path / f"{number:06d}.hdf5"
        write_text_file(path, self.settings, captions)
        self._note(path, ((caption.caption_id, caption.text) for caption in captions))

    def join(self) -> None:
        """Make the output hold all that is there, and drop the parts."""
        if not self.parts.files():
            return
        write_text_file(self.parts.joined, self.settings, self._read(self._files))
        self.parts.finish()

    def _take(self, path: Path, advice: str) -> None:
        with TextFile(path) as file:
            if file.settings.fingerprint != self.settings.fingerprint:
                raise UserError(
                    f"{path} holds words of encoder {file.settings.encoder} (fingerprint "
                    f"{file.settings.fingerprint[:12]}), not of {self.settings.encoder} "
                    f"({self.settings.fingerprint[:12]}): {advice}, or the same --encoder"
                )
            names = file.keys()
            self._note(path, ((name, file.text(name)) for name in names))

    def _note(self, path: Path, texts: Iterable[tuple[str, str]]) -> None:
        for name, text in texts:
            self.texts[name], self._files[name] = text, path

    def _read(self, files: Mapping[str, Path]) -> Iterator[CaptionWords]:
        opened: dict[Path, TextFile] = {}
        try:
            for name, path in sorted(files.items()):
                if path not in opened:
                    opened[path] = TextFile(path)
                yield CaptionWords(name, self.texts[name], opened[path][name])
        finally:
            for file in opened.values():
                file.__exit__()
