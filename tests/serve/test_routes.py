import io
import os
import threading
from pathlib import Path

import av
import pytest
from PIL import Image
from serve.fake import FakeLibrary
from serve.films import colour_index
from starlette.testclient import TestClient

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve import routes as routes_module
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.media import Media
from dreamprvr.serve.schema import video_key

RED, OLD, COPY, GONE = (
    f"/api/videos/{video_key(video_id)}" for video_id in ("cooking__red", "old", "copy", "gone")
)
SHEET = f"/api/stills.avif?key={video_key('old')}"


def test_a_video_says_how_it_is_played(client: TestClient) -> None:
    answer = client.get(RED).json()
    assert answer["title"] == "Red pan"
    assert answer["playing"] == {
        "file": 'video/mp4; codecs="avc1.64000a,mp4a.40.2"',
        "pieces": 'video/mp4; codecs="avc1.640028,mp4a.40.2"', "count": 12, "piece": 1.0,
        "seconds": 12.0,
    }  # fmt: skip
    answer = client.get(OLD).json()["playing"]
    assert (answer["file"], answer["pieces"]) == (None, 'video/mp4; codecs="avc1.640028"')


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
        "/pieces/0.mp4",
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
    for rest in ("", "/media", "/thumbnail", "/pieces/0.mp4", "/clip.mp4?start=0&end=1"):
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


def test_a_sheet_of_stills(client: TestClient) -> None:
    keys = [video_key(name) for name in ("gone", "cooking__red", "old")]
    response = client.get("/api/stills.avif", params={"key": keys})
    assert response.headers["content-type"] == "image/avif"
    with Image.open(io.BytesIO(response.content)) as image:
        colours = [image.getpixel((200, 135 * row + 100)) for row in range(3)]
    assert [pixel[3] for pixel in colours] == [0, 255, 255]
    assert [colour_index(pixel) for pixel in colours[1:]] == [4, 2]
    assert client.get("/api/stills.avif", params={"key": [*keys, "x"]}).status_code == 404
    for wrong in ([], 25 * keys[:1]):
        assert client.get("/api/stills.avif", params={"key": wrong}).status_code == 400


def test_a_piece(client: TestClient, tmp_path: Path) -> None:
    response = client.get(f"{OLD}/pieces/1.mp4")
    assert (response.status_code, response.headers["content-type"]) == (200, "video/mp4")
    (tmp_path / "piece.mp4").write_bytes(response.content)
    with av.open(tmp_path / "piece.mp4") as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    assert times == pytest.approx([1.0 + i / 10 for i in range(10)], abs=0.001)
    for number, status in (("6", 415), ("-1", 400), ("x", 400), ("1e999", 400)):
        assert client.get(f"{OLD}/pieces/{number}.mp4").status_code == status


@pytest.mark.parametrize("rest", ["thumbnail?t=1", "pieces/0.mp4", "clip.mp4?start=0&end=1", SHEET])
def test_what_a_client_has_is_not_made_again(
    client: TestClient, rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = rest if rest == SHEET else f"{OLD}/{rest}"
    first = client.get(address)
    assert first.status_code == 200
    for name in ("still", "sheet", "piece", "clip"):
        monkeypatch.setattr(Media, name, None)
    monkeypatch.setattr(CacheFolder, "find", lambda *arguments: None)
    for name, header in (("if-none-match", "etag"), ("if-modified-since", "last-modified")):
        again = client.get(address, headers={name: first.headers[header]})
        assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"].startswith("private")


def test_a_file_that_the_client_has(client: TestClient) -> None:
    etag = client.get(f"{RED}/media").headers["etag"]
    assert client.get(f"{RED}/media", headers={"if-none-match": etag}).status_code == 304
    assert client.get(f"{RED}/media", headers={"if-none-match": '"x"'}).status_code == 200


def test_stills_do_not_wait_behind_questions_about_videos(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(routes_module, "probe", lambda source: gate.wait(60))
    asking = [threading.Thread(target=client.get, args=(OLD,)) for _ in range(6)]
    for thread in asking:
        thread.start()
    assert client.get(f"{RED}/thumbnail?t=2.5").status_code == 200
    gate.set()
    for thread in asking:
        thread.join()


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
