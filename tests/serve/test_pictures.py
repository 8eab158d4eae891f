"""Pictures that clients send to search for."""

from io import BytesIO

import pytest
from PIL import Image
from serve.films import png
from starlette.exceptions import HTTPException

from dreamprvr.core.errors import UserError
from dreamprvr.serve import pictures as pictures_module
from dreamprvr.serve.pictures import Pictures, small
from dreamprvr.serve.workers import Stopped


def test_those_not_used_for_longest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures_module, "_HELD", 10)
    held = Pictures()
    first, second = held.keep(b"aaaa"), held.keep(b"bbbb")
    assert held.keep(b"aaaa") == first != second
    assert held.content(second) == b"bbbb"  # used, so the other goes first
    third = held.keep(b"cccc")
    with pytest.raises(HTTPException, match="has forgotten this picture: send it again") as refusal:
        held.content(first)
    assert refusal.value.status_code == 404
    assert held.content(third) == b"cccc"
    held.forget(third)
    held.forget(third)
    with pytest.raises(HTTPException):
        held.content(third)


def test_a_small_picture() -> None:
    with Image.open(BytesIO(small(png(), lambda: None))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (160, 80))
        red, green, _ = picture.getpixel((80, 40))
        assert red > 190
        assert green < 60
    with pytest.raises(UserError, match="the picture cannot be read as a picture"):
        small(b"GIF89a", lambda: None)

    def gone() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        small(png(), gone)
