from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av import VideoFrame
from PIL import Image
from serve.browsing import Server, until
from serve.fake import FakeLibrary, keeper_of

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve import app as app_module
from dreamprvr.serve.app import create_app
from dreamprvr.serve.joining import joined

STATIC = Path(app_module.__file__).parent / "static"
MOST_BYTES = 60_000
MOST_REQUESTS = 10


def write(folder: Path, **modules: str) -> Path:
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text)
    return folder


def test_imports_become_constants(tmp_path: Path) -> None:
    write(
        tmp_path,
        main='import { one,\n  two as deux } from "./low.js";\n'
        'import * as mid from "./mid.js";\ngo();\n',
        mid='import { one } from "./low.js";\nexport async function run() {}\n',
        low="// A comment.\n\nexport const one = 1, own = 0;\n/** Two\n * lines. */\n"
        "export class two {}\nconst hidden = 3; // not a line by itself\n",
    )
    assert joined(tmp_path, "main") == (
        "const $low = await (async () => {\n\nconst one = 1, own = 0;\nclass two {}\n"
        "const hidden = 3; // not a line by itself\nreturn { one, two };\n})();\n"
        "const $mid = await (async () => {\nconst { one } = $low;\nasync function run() {}\n"
        "return { run };\n})();\n"
        "const { one,\n  two: deux } = $low;\nconst mid = $mid;\ngo();\n"
    )
    assert joined(tmp_path, "low").startswith("\nconst one = 1")


@pytest.mark.parametrize(
    "line", ['import low from "./low.js";', "export let a = 1;", "export { a };",
             "export default 1;", 'import "./low.js";',
             'import { a } from "https://elsewhere/low.js";'],
)  # fmt: skip
def test_what_is_not_understood_is_named(tmp_path: Path, line: str) -> None:
    write(tmp_path, main=f"{line}\n", low="")
    with pytest.raises(ValueError, match=r"^main\.js: (im|ex)port.*: write imports and exports"):
        joined(tmp_path, "main")


def test_modules_that_import_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, a='import { b } from "./b.js";\n', b='import { a } from "./a.js";\n')
    with pytest.raises(ValueError, match=r"a\.js imports itself by a, b"):
        joined(tmp_path, "a")


@pytest.mark.parametrize("name", sorted(path.stem for path in STATIC.glob("*.js")))
def test_every_module_of_the_page_can_be_joined(name: str) -> None:
    assert "import " not in joined(STATIC, name).partition("//")[0]


@pytest.mark.slow
def test_the_first_load_is_small(browser: Any, tmp_path: Path) -> None:
    """With the stills of the start page, of films whose every detail is random."""
    rng = np.random.default_rng(0)
    for i in range(20):
        fine = rng.integers(0, 256, (18, 32, 3), np.uint8)
        with av.open(tmp_path / f"{i}.mp4", "w") as writer:
            video: Any = writer.add_stream("libx264", rate=2)
            video.width, video.height, video.pix_fmt = 480, 270, "yuv420p"
            shown = VideoFrame.from_image(Image.fromarray(fine).resize((480, 270)))
            for packet in [*video.encode(shown), *video.encode(None)]:
                writer.mux(packet)
    library = FakeLibrary(
        [LibraryVideo(f"a video {i}", tmp_path / f"{i}.mp4", 0.5, {}) for i in range(20)]
    )
    page = browser.new_page()
    sizes: dict[str, int] = {}
    page.on(
        "response", lambda one: sizes.update({one.url: one.request.sizes()["responseBodySize"]})
    )
    with Server(create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")) as server:
        page.goto(server.address)
        page.wait_for_selector(".film")
        until(page, "document.readyState === 'complete'")
        page.wait_for_load_state("networkidle")
        assert page.locator(".film img").count() == 12
        page.close()
    assert any("/stills.avif?" in url for url in sizes)
    assert 4 <= len(sizes) <= MOST_REQUESTS, list(sizes)
    assert sum(sizes.values()) <= MOST_BYTES, sizes
