import csv
import io
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import pytest
from serve.films import film
from starlette.testclient import TestClient

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.schema import video_key
from dreamprvr.serve.timelines import RATES, Cut, cuts_csv, cuts_edl, cuts_fcpxml, has_sound

RED = LibraryVideo("red", Path("/films/red pan.mp4"), 90.0, {"title": "Red\npan"})
BLUE = LibraryVideo("blue", None, 90.0, {"title": "=<&>\x01 é"})
CUTS = (Cut(RED, 61.4, 64.0, True), Cut(BLUE, 0.0, 1.0), Cut(RED, 3.0, 4.0, True))


def labels(nominal: int, dropped: int, hours: int) -> list[str]:
    """Write the timecodes of all frames in order, leaving out what drop-frame leaves out."""
    sign = ";" if dropped else ":"
    return [
        f"{hour:02d}:{minute:02d}:{second:02d}{sign}{frame:02d}"
        for hour in range(hours) for minute in range(60) for second in range(60)
        for frame in range(nominal)
        if not (second == 0 and minute % 10 and frame < dropped)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "nominal", "dropped"),
    [("24", 24, 0), ("25", 25, 0), ("29.97", 30, 2), ("50", 50, 0), ("59.94", 60, 4)],
)
def test_timecodes_of_more_than_an_hour(rate: str, nominal: int, dropped: int) -> None:
    expected = labels(nominal, dropped, hours=2)
    made = RATES[rate]
    assert [made.timecode(frame) for frame in range(len(expected))] == expected
    assert expected[made.hour].startswith("01:00:00")
    assert expected[made.hour].endswith("00")
    assert made.timecode(24 * made.hour)[:8] == "00:00:00"  # a day later


def test_drop_frame_keeps_step_with_the_clock() -> None:
    for second in (59.99, 600.0, 3600.0, 5400.0):
        code = RATES["29.97"].timecode(RATES["29.97"].frame(second))
        hours, minutes, rest = code.split(":")
        seconds, frames = rest.split(";")
        shown = 3600 * int(hours) + 60 * int(minutes) + int(seconds) + int(frames) / 30
        assert shown == pytest.approx(second, abs=0.1)


@pytest.mark.parametrize(
    ("rate", "mode", "first", "second"),
    [
        ("24", "NON-DROP FRAME", "00:01:01:10 00:01:04:00 01:00:00:00 01:00:02:14",
         "00:00:00:00 00:00:01:00 01:00:02:14 01:00:03:14"),
        ("25", "NON-DROP FRAME", "00:01:01:10 00:01:04:00 01:00:00:00 01:00:02:15",
         "00:00:00:00 00:00:01:00 01:00:02:15 01:00:03:15"),
        # 61.4 s are 1840.2 frames, and timecode has left out two numbers
        ("29.97", "DROP FRAME", "00:01:01;12 00:01:04;00 01:00:00;00 01:00:02;18",
         "00:00:00;00 00:00:01;00 01:00:02;18 01:00:03;18"),
        ("50", "NON-DROP FRAME", "00:01:01:20 00:01:04:00 01:00:00:00 01:00:02:30",
         "00:00:00:00 00:00:01:00 01:00:02:30 01:00:03:30"),
    ],
)  # fmt: skip
def test_an_edit_list(rate: str, mode: str, first: str, second: str) -> None:
    lines = cuts_edl(CUTS, RATES[rate]).decode().splitlines()
    assert lines[:3] == ["TITLE: DreamPRVR", f"FCM: {mode}", ""]
    assert lines[3:7] == [
        f"001  AX       B     C        {first}", "* FROM CLIP NAME: red pan.mp4",
        "* COMMENT: Red pan", "",
    ]  # fmt: skip
    assert lines[7:9] == [f"002  AX       V     C        {second}", "* FROM CLIP NAME: blue"]
    assert lines[11].startswith("003  AX       B     C        00:00:03")


@pytest.mark.parametrize("rate", RATES)
def test_a_timeline_without_gaps_whose_times_are_frames(rate: str) -> None:
    data = cuts_fcpxml(CUTS, RATES[rate])
    assert data.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n')
    tree = ElementTree.fromstring(data)

    def frames(node: ElementTree.Element, name: str) -> int:
        value = Fraction(node.get(name, "").removesuffix("s")) * RATES[rate].exact
        assert value.denominator == 1
        return int(value)

    sequence = tree.find("library/event/project/sequence")
    assert sequence is not None
    clips = sequence.findall("spine/asset-clip")
    assert [clip.get("name") for clip in clips] == ["Red pan", "=<&>\ufffd é", "Red pan"]
    at = 0
    for clip, cut in zip(clips, CUTS, strict=True):
        assert frames(clip, "offset") == at
        start = frames(clip, "start") / RATES[rate].exact
        assert float(start) == pytest.approx(cut.start, abs=0.03)
        at += frames(clip, "duration")
    assert frames(sequence, "duration") == at
    assert sequence.get("tcFormat") == ("DF" if RATES[rate].drop else "NDF")
    assets = {asset.get("id"): asset for asset in tree.findall("resources/asset")}
    assert [clip.get("ref") for clip in clips] == ["r2", "r3", "r2"]
    media = assets["r2"].find("media-rep")
    assert media is not None
    assert media.get("src") == "./red%20pan.mp4"
    assert (assets["r2"].get("hasAudio"), assets["r3"].get("hasAudio")) == ("1", None)
    assert frames(assets["r2"], "duration") >= 90 * RATES[rate].exact - 1
    assert b"/films" not in data


def test_a_table_of_moments() -> None:
    data = cuts_csv(CUTS, RATES["25"])
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert (rows[0]["file"], rows[0]["start_timecode"]) == ("red pan.mp4", "00:01:01:10")
    assert rows[0]["end_seconds"] == "64.000"
    assert rows[1]["title"].startswith("'=")  # no formula
    assert b"/films" not in data


def test_a_moment_shorter_than_a_frame_has_one() -> None:
    assert Cut(RED, 5.0, 5.001).frames(RATES["24"]) == (120, 121)


def test_names_that_are_not_unicode() -> None:
    path = Path(b"/films/caf\xe9.mp4".decode("utf-8", "surrogateescape"))
    cut = Cut(LibraryVideo("caf\\xe9", path, 9.0, {}), 1.0, 2.0)
    assert "* FROM CLIP NAME: caf\ufffd.mp4" in cuts_edl([cut], RATES["25"]).decode()
    assert b'src="./caf%E9.mp4"' in cuts_fcpxml([cut], RATES["25"])
    assert "caf\ufffd.mp4" in cuts_csv([cut], RATES["25"]).decode()


def test_which_files_have_sound(tmp_path: Path) -> None:
    assert has_sound(film(tmp_path / "loud.mp4", 1))
    assert not has_sound(film(tmp_path / "still.mp4", 1, sound=False))
    (tmp_path / "no.mp4").write_text("text")
    assert not has_sound(tmp_path / "no.mp4")
    assert not has_sound(tmp_path / "missing.mp4")
    film(tmp_path / "missing.mp4", 1)
    assert has_sound(tmp_path / "missing.mp4")  # it is there by now
    assert not has_sound(None)


def test_the_route(client: TestClient) -> None:
    red, gone = (f"moment={video_key(name)}@" for name in ("cooking__red", "gone"))
    for ending, kind in (("csv", "text/csv"), ("edl", "text/plain"), ("fcpxml", "application/xml")):
        answer = client.get(f"/api/basket.{ending}?{red}1.5-2&{gone}0-1&rate=29.97")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["content-disposition"].endswith(f"moments.{ending}")
        assert "red.mp4" in answer.text
    for words in ("", f"{red}2-1", f"{red}x-2", f"{red}1-2&rate=12", "moment=../x@1-2"):
        assert client.get(f"/api/basket.edl?{words}").status_code == 400, words
    assert client.get(f"/api/basket.edl?moment={video_key('nobody')}@1-2").status_code == 404
    assert client.get(f"/api/basket.exe?{red}1-2").status_code == 400
