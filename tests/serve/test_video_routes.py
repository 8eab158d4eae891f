import io
from pathlib import Path

import av
import pytest
from PIL import Image
from serve.fake import FakeLibrary, keeper_of
from serve.films import colour_index
from starlette.testclient import TestClient

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import source_file
from dreamprvr.serve.jobs import Stopped
from dreamprvr.serve.moment_clips import moment_clip
from dreamprvr.serve.video_routes import VideoRoutes
from dreamprvr.serve.wire import video_key
from dreamprvr.serve.workers import Workers

RED, OLD, COPY, GONE = (
    f"/api/videos/{video_key(video_id)}" for video_id in ("cooking__red", "old", "copy", "gone")
)


def test_about(client: TestClient) -> None:
    answer = client.get(RED).json()
    assert (answer["title"], answer["preview"]["state"]) == ("Red pan", "needless")
    assert client.get(OLD).json()["preview"]["state"] == "absent"


def test_the_file(client: TestClient, films: Path) -> None:
    content = (films / "red.mp4").read_bytes()
    response = client.get(f"{RED}/media")
    assert (response.content, response.headers["content-type"]) == (content, "video/mp4")
    response = client.get(f"{RED}/media", headers={"range": "bytes=100-199"})
    assert (response.status_code, response.content) == (206, content[100:200])
    assert client.head(f"{RED}/media").headers["content-length"] == str(len(content))
    assert client.get(f"{RED}/media", headers={"range": "bytes=99999999-"}).status_code == 416


def test_a_file_that_is_gone(client: TestClient) -> None:
    for rest in (
        "",
        "/media",
        "/thumbnail?t=1",
        "/clip.mp4?start=0&end=1",
        "/preview",
        "/preview.mp4",
    ):
        response = client.get(f"{GONE}{rest}")
        assert response.status_code == 404
        assert response.json()["error"].startswith("the video file gone.mp4 is not where it was")


def test_only_videos_are_handed_out(
    client: TestClient, library: FakeLibrary, tmp_path: Path
) -> None:
    """A library of somebody else's may name any file of this machine."""
    secret = tmp_path / "secret.mp4"
    secret.write_text("root:x:0:0")
    library.held.append(LibraryVideo("secret", secret, 5.0, {}))
    for rest in ("", "/media", "/thumbnail", "/clip.mp4?start=0&end=1"):
        response = client.get(f"/api/videos/{video_key('secret')}{rest}")
        assert response.status_code == 415
        assert "root" not in response.text


@pytest.mark.parametrize("key", [video_key("nobody"), "x", "%20", "a" * 3000])
def test_videos_that_the_library_has_not(client: TestClient, key: str) -> None:
    response = client.get(f"/api/videos/{key}/media")
    assert (response.status_code, list(response.json())) == (404, ["error"])


def test_a_still(client: TestClient) -> None:
    response = client.get(f"{RED}/thumbnail?t=3.5")
    with Image.open(io.BytesIO(response.content)) as image:
        assert colour_index(image.getpixel((100, 80))) == 3
    for t in ("x", "-1", "nan", "1e99"):
        assert client.get(f"{RED}/thumbnail?t={t}").status_code == 400
    assert client.get(f"{RED}/thumbnail?t=5000").status_code == 200


def test_a_preview(client: TestClient) -> None:
    assert client.get(f"{OLD}/preview.mp4").status_code == 404
    state = client.post(f"{OLD}/preview").json()
    while state["state"] == "working":
        state = client.get(f"{OLD}/preview").json()
    assert state == {"state": "ready", "done": 1.0, "message": ""}
    response = client.get(f"{OLD}/preview.mp4", headers={"range": "bytes=4-7"})
    assert (response.status_code, response.content) == (206, b"ftyp")
    # a browser that cannot play what the others can
    state = client.post(f"{RED}/preview?force=true").json()
    while state["state"] == "working":
        state = client.get(f"{RED}/preview?force=true").json()
    assert client.get(f"{RED}/preview").json()["state"] == "needless"
    assert client.get(f"{RED}/preview.mp4").status_code == 404
    assert client.get(f"{RED}/preview.mp4?force=true").content[4:8] == b"ftyp"
    for foreign in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert client.post(f"{COPY}/preview", headers=foreign).status_code == 403
    assert client.get(COPY).json()["preview"]["state"] == "absent"


def test_a_clip(client: TestClient, tmp_path: Path) -> None:
    response = client.get(f"{RED}/clip.mp4?start=2.5&end=4")
    header = (
        'attachment; filename="Red pan 00.02-00.04.mp4"; '
        "filename*=UTF-8''Red%20pan%2000.02-00.04.mp4"
    )
    assert response.headers["content-disposition"] == header
    (tmp_path / "clip.mp4").write_bytes(response.content)
    with av.open(tmp_path / "clip.mp4") as container:
        assert len(list(container.decode(video=0))) == 15
    for span in ("", "?start=4&end=2.5", "?start=0&end=900", "?start=x&end=2"):
        assert client.get(f"{RED}/clip.mp4{span}").status_code == 400


def test_a_clip_is_given_up_when_the_page_ends(films: Path, tmp_path: Path) -> None:
    routes = VideoRoutes(
        keeper_of(FakeLibrary([]), tmp_path), CacheFolder(tmp_path, 10**6), Workers("x", 1, 1)
    )
    file = source_file(LibraryVideo("v", films / "red.mp4", 12.0, {}))
    routes.close()
    with pytest.raises(Stopped):
        moment_clip(routes.cache, file, 0.0, 1.0, routes._go_on)
    assert list(tmp_path.iterdir()) == []


def test_a_title_cannot_break_the_headers(client: TestClient) -> None:
    response = client.get(f"{COPY}/clip.mp4?start=0&end=1")
    assert response.status_code == 200
    assert "<" not in response.headers["content-disposition"]
    assert response.headers["content-disposition"].count('"') == 2


def test_cues(client: TestClient) -> None:
    response = client.get(f"{OLD}/moments.vtt?q=red")
    assert response.headers["content-type"] == "text/vtt; charset=utf-8"
    assert response.text.startswith("WEBVTT\n\nNOTE =1+1\n")
    assert client.get(f"{OLD}/moments.vtt?q=red&k=1").status_code == 404
    assert client.get(f"{OLD}/moments.vtt").status_code == 400
