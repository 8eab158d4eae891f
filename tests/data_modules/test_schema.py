from typing import Any

import pandas as pd
import pytest

from data_modules.schema import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from dreamprvr.core.errors import UserError


def tables(videos: list[str], captions: list[tuple[str, tuple[str, ...]]]) -> Annotations:
    return Annotations(
        pd.DataFrame([(v, 1.0, "test", "") for v in videos], columns=VIDEO_COLUMNS),
        pd.DataFrame(
            [(name, true, "text", (), "test") for name, true in captions], columns=QUERY_COLUMNS
        ),
    )


VIDEOS, CAPTIONS = ["a", "b", "c"], [("a#enc#0", ("a",)), ("b#enc#0", ("b",))]
SAME = tables(VIDEOS, CAPTIONS).labels()


def test_equal_labels_have_one_name() -> None:
    assert tables(VIDEOS, CAPTIONS).labels() == SAME
    assert SAME.startswith("single-")
    other = tables(VIDEOS, CAPTIONS)
    other.queries["text"] = "another text"
    assert other.labels() == SAME


@pytest.mark.parametrize(
    ("videos", "captions", "kind"),
    [
        (VIDEOS[:2], CAPTIONS, "single"),
        (VIDEOS, CAPTIONS[:1], "single"),
        (VIDEOS, [CAPTIONS[0], ("b#enc#0", ("c",))], "single"),
        (VIDEOS, [CAPTIONS[0], ("b#enc#0", ("b", "c"))], "multi"),
    ],
)
def test_other_labels_have_another(videos: list[str], captions: Any, kind: str) -> None:
    found = tables(videos, captions).labels()
    assert found != SAME
    assert found.startswith(f"{kind}-")


def test_other_columns_are_refused() -> None:
    with pytest.raises(UserError, match="annotation table has columns"):
        Annotations(pd.DataFrame({"video": []}), tables(VIDEOS, CAPTIONS).queries)
