import io
import os
from pathlib import Path

import av
import pytest
from PIL import Image
from serve.fake import FakeLibrary
from serve.films import colour_index
from starlette.testclient import TestClient

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.schema import video_key

RED, OLD, COPY, GONE = (
    f"/api/videos/{video_key(video_id)}" for video_id in ("cooking__red", "old", "copy", "gone")
)


def test_a_video_states_if_it_needs_a_preview(client: TestClient) -> None:
    answer = client.get(RED).json()
    assert (answer["title"], answer["preview"]["state"]) == ("Red pan", "needless")
    assert client.get(OLD).json()["preview"]["state"] == "absent"


def test_the_list_of_videos(client: TestClient) -> None:
    answer = client.get("/api/videos").json()
    assert answer["total"] == 4
    assert [folder["videos"] for folder in answer["folders"]] == [4]
    assert answer["videos"][3]["id"] == "gone"
    assert "path" not in answer["videos"][0]
    answer = client.get("/api/videos?skip=1&count=2").json()
    assert (answer["total"], len(answer["videos"])) == (4, 2)
    assert client.get("/api/videos?folder=x").json()["videos"] == []
    assert client.get("/api/videos?count=1000").status_code == 400


def test_the_file(client: TestClient, films: Path) -> None:
    content = (films / "red.mp4").read_bytes()
    response = client.get(f"{RED}/media")
    assert (response.content, response.headers["content-type"]) == (content, "video/mp4")
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["cache-control"] == "private, no-cache"
    assert "content-disposition" not in response.headers
    assert client.head(f"{RED}/media").headers["content-length"] == str(len(content))


def test_ranges_of_the_file(client: TestClient, films: Path) -> None:
    content = (films / "red.mp4").read_bytes()
    size = len(content)
    for header, first, last in (
        ("bytes=100-199", 100, 199), ("bytes=0-0", 0, 0), ("bytes=10-", 10, size - 1),
        ("bytes=-3", size - 3, size - 1), ("bytes=5-99999999", 5, size - 1),
        ("bytes=-99999999", 0, size - 1),
    ):  # fmt: skip
        response = client.get(f"{RED}/media", headers={"range": header})
        assert (response.status_code, response.content) == (206, content[first : last + 1])
        assert response.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert response.headers["content-length"] == str(last - first + 1)
    response = client.head(f"{RED}/media", headers={"range": "bytes=0-9"})
    assert (response.status_code, response.content) == (206, b"")
    assert response.headers["content-length"] == "10"
    response = client.get(f"{RED}/media", headers={"range": "bytes=0-1,5-6"})
    assert response.status_code == 206
    assert response.headers["content-type"].startswith("multipart/byteranges")
    for part in (content[0:2], content[5:7]):
        assert b"\r\n\r\n" + part + b"\r\n--" in response.content
    many = ",".join(f"{i}-{i}" for i in range(0, 1000, 2))  # answered with the whole file
    response = client.get(f"{RED}/media", headers={"range": f"bytes={many}"})
    assert (response.status_code, response.content) == (200, content)


def test_ranges_that_cannot_be_sent(client: TestClient, films: Path) -> None:
    size = (films / "red.mp4").stat().st_size
    for header, status in (
        (f"bytes={size}-", 416), ("bytes=99999998-99999999", 416), ("bytes=-0", 416),
        ("bytes=2-1", 400), ("bytes=a-b", 400), ("bytes=", 400), ("lines=0-1", 400),
        ("bytes=" + "9" * 10_000 + "-", 400),
    ):  # fmt: skip
        for method in ("GET", "HEAD"):
            response = client.request(method, f"{RED}/media", headers={"range": header})
            assert response.status_code == status, header
            if method == "GET":
                assert list(response.json()) == ["error"]
            assert ("content-range" in response.headers) == (status == 416)
            assert response.headers.get("content-range", f"bytes */{size}") == f"bytes */{size}"
            assert "default-src 'self'" in response.headers["content-security-policy"]


def test_a_range_of_an_older_version_is_answered_with_the_whole_file(client: TestClient) -> None:
    headers = client.get(f"{RED}/media").headers
    for condition, status in (
        (headers["etag"], 206), (headers["last-modified"], 206), ('"other"', 200),
        (f"W/{headers['etag']}", 200),
    ):  # fmt: skip
        asked = {"range": "bytes=0-1", "if-range": condition}
        assert client.get(f"{RED}/media", headers=asked).status_code == status


def test_pipes_and_folders_are_not_opened(
    client: TestClient, library: FakeLibrary, tmp_path: Path
) -> None:
    pipe, folder = tmp_path / "pipe.mp4", tmp_path / "folder.mp4"
    os.mkfifo(pipe)  # to open it for reading would wait for a writer
    folder.mkdir()
    for path in (pipe, folder):
        library.held.append(LibraryVideo(path.stem, path, 5.0, {}))
        assert client.get(f"/api/videos/{video_key(path.stem)}/media").status_code == 404


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_no_file_stays_open(client: TestClient) -> None:
    client.get(f"{RED}/media")
    before = len(os.listdir("/proc/self/fd"))
    for header in ("bytes=0-", "bytes=99999999-", "nothing"):
        client.get(f"{RED}/media", headers={"range": header})
        client.head(f"{RED}/media", headers={"range": header})
    assert len(os.listdir("/proc/self/fd")) <= before + 1


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


def test_unknown_videos(client: TestClient) -> None:
    for key in (video_key("nobody"), "x", "%20", "a" * 3000):
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
    header = "attachment; filename*=utf-8''Red%20pan%2000.02-00.04.mp4"
    assert response.headers["content-disposition"] == header
    (tmp_path / "clip.mp4").write_bytes(response.content)
    with av.open(tmp_path / "clip.mp4") as container:
        assert len(list(container.decode(video=0))) == 15
    for span in ("", "?start=4&end=2.5", "?start=0&end=900", "?start=x&end=2"):
        assert client.get(f"{RED}/clip.mp4{span}").status_code == 400


def test_a_title_cannot_break_the_headers(client: TestClient) -> None:
    response = client.get(f"{COPY}/clip.mp4?start=0&end=1")
    assert response.status_code == 200
    assert "<" not in response.headers["content-disposition"]
    assert '"' not in response.headers["content-disposition"]


def test_cues(client: TestClient) -> None:
    response = client.get(f"{OLD}/moments.vtt?q=red")
    assert response.headers["content-type"] == "text/vtt; charset=utf-8"
    assert response.text.startswith("WEBVTT\n\nNOTE =1+1\n")
    assert client.get(f"{OLD}/moments.vtt?q=red&k=1").status_code == 404
    assert client.get(f"{OLD}/moments.vtt").status_code == 400
