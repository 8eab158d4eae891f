from pathlib import Path

from dreamprvr.extraction.video_ids import id_forms, names_of, unique_ids


def test_forms_grow() -> None:
    *forms, last = id_forms(Path("/t/p/z.mp4"), 2)
    assert forms == ["p__z", "p__z.mp4", "t__p__z.mp4", "__t__p__z.mp4"]
    assert last.startswith("p__z.mp4-")
    assert last == list(id_forms(Path("/t/p/z.mp4"), 2))[-1]
    assert list(names_of(Path("/p/z.mp4"))) == ["z.mp4", "p__z.mp4", "__p__z.mp4"]


def test_only_what_clashes_gets_longer() -> None:
    files = [(Path(f"/v/{name}"), 1) for name in ("a.mp4", "a.mkv", "b.mp4")]
    assert unique_ids(["a", "a", "b"], files) == ["a.mp4", "a.mkv", "b"]
    assert unique_ids(["a", "b"], files[1:], {"a"}) == ["a.mkv", "b"]
    assert unique_ids(["a", "b"], files[1:], {"a", "a.mkv"}) == ["v__a.mkv", "b"]
    assert unique_ids([], []) == []


def test_ids_never_get_shorter() -> None:
    assert unique_ids(["v__a.mp4"], [(Path("/w/v/a.mp4"), 1)], {"v__a.mp4"}) == ["w__v__a.mp4"]


def test_names_that_imitate_folders() -> None:
    files = [(Path("/v/a/b.mp4"), 2), (Path("/v/a__b.mp4"), 1)]
    found = unique_ids(["a__b", "a__b"], files)
    assert len(set(found)) == 2
    assert all(name.startswith("a__b.mp4-") for name in found)
