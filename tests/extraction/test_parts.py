import subprocess
import sys
from pathlib import Path

import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.parts import PartsFolder

OUTPUT = Path("out/f.hdf5")


def test_the_folder_stays_only_with_parts() -> None:
    parts = PartsFolder(OUTPUT, "extract")
    parts.hold()
    (parts.path / f"{1:032x}.hdf5").write_bytes(b"")
    parts.release()
    assert parts.files() == [Path("out/f.hdf5.parts") / f"{1:032x}.hdf5"]
    parts.hold()
    parts.files()[0].unlink()
    parts.release()
    parts.release()
    assert list(OUTPUT.parent.iterdir()) == []


def test_what_is_half_written_is_tidied_up() -> None:
    parts = PartsFolder(OUTPUT, "extract")
    parts.path.mkdir(parents=True)
    for name in (".x.hdf5.123.partial", ".joined.123.partial", "joined"):
        (parts.path / name).write_bytes(b"half")
    parts.hold()
    assert [path.name for path in parts.path.iterdir()] == [".lock"]
    parts.release()


def test_a_second_process_is_refused() -> None:
    program = (
        "from extraction.test_parts import *\n"
        "try:\n"
        "    PartsFolder(OUTPUT, 'extract-text').hold()\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )

    def second() -> str:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env={"PYTHONPATH": str(Path(__file__).parents[1])},
        )  # fmt: skip
        return done.stdout

    parts = PartsFolder(OUTPUT, "extract")
    parts.hold()
    assert second() == (
        "another `lightning extract-text` is writing out/f.hdf5: wait for it, or give another -o\n"
    )
    parts.release()
    assert second() == ""


def test_a_folder_that_cannot_be_made() -> None:
    Path("out").write_text("")
    with pytest.raises(UserError, match=r"^cannot write out/f.hdf5.parts"):
        PartsFolder(OUTPUT, "extract").hold()
