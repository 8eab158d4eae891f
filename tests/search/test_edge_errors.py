import os
import subprocess
import sys
from pathlib import Path

import pytest
from search.libraries import library, video

from dreamprvr.core.errors import UserError
from dreamprvr.search.edge_engine import EdgeEngine
from dreamprvr.search.edge_errors import plain_errors
from dreamprvr.search.library import Library

Panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Exception("first\nsecond"), "first"), (Panic("no"), "no"), (KeyError(), "KeyError")],
)
def test_errors_and_panics(error: BaseException, reason: str) -> None:
    with (
        pytest.raises(UserError, match=rf"^/x cannot be read \({reason}\): move it$"),
        plain_errors(Path("/x"), "cannot be read", "move it"),
    ):
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), UserError("said")])
def test_what_is_let_through(error: BaseException) -> None:
    with pytest.raises(type(error)) as found, plain_errors(Path("/x"), "cannot", "do"):
        raise error
    assert found.value is error


DAMAGES = [
    ("vector_storage-tokens/offsets/chunk_0.mmap", None),  # panics in the query
    ("vector_storage-tokens/vectors/chunk_0.mmap", None),  # an error in the query
    ("vector_storage-segments/deleted/status.dat", 0),  # panics when it is opened
    ("payload_storage/page_0.dat", b"\xff" * 4096),  # an error in what the query gives
    ("segment.json", b"["),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_damaged_files(tmp_path: Path, name: str, damage: bytes | int | None) -> None:
    library(tmp_path, video("a", dog=7), video("b")).close()
    (segment,) = (tmp_path / "library" / "engine" / "segments").iterdir()
    path = segment / name
    if isinstance(damage, bytes):
        with path.open("r+b") as file:
            file.write(damage)
    elif damage is None:
        path.unlink()
    else:
        os.truncate(path, damage)
    with (
        pytest.raises(UserError, match=r"engine cannot be read \(.+\): move it away and index"),
        Library.open(tmp_path / "library") as opened,
    ):
        opened.search("dog")


def test_a_panic_prints_no_backtrace(tmp_path: Path) -> None:
    library(tmp_path, video("a")).close()
    (segment,) = (tmp_path / "library" / "engine" / "segments").iterdir()
    os.truncate(segment / "vector_storage-segments" / "deleted" / "status.dat", 0)
    code = "import sys; from pathlib import Path; from dreamprvr.search.edge_engine import *; "
    code += "EdgeEngine(Path(sys.argv[1]), 6)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "library" / "engine")], text=True,
        capture_output=True, env={**os.environ, "RUST_BACKTRACE": "1"}, check=False,
    )  # fmt: skip
    before, _, after = done.stderr.partition("Traceback")
    assert "cannot be read (index out of bounds" in after
    assert len(before.splitlines()) < 6


def test_an_engine_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "engine").write_text("")
    with pytest.raises(UserError, match=r"engine cannot be made \(.*File exists"):
        EdgeEngine.create(tmp_path / "engine", 6)


@pytest.mark.parametrize("name", ["", "edge_config.json", "segments"])
def test_files_that_may_not_be_written(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, video("a", dog=7)).close()
    forbidden = tmp_path / "library" / "engine" / name
    monkeypatch.setattr(os, "access", lambda path, mode: (Path(path), mode) != (forbidden, os.W_OK))
    with pytest.raises(UserError, match=f"^{forbidden} may not be written, .* copy the library"):
        Library.open(tmp_path / "library")
    monkeypatch.undo()
    with Library.open(tmp_path / "library") as opened:
        assert len(opened.search("dog").hits) == 1
