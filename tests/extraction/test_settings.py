import re

import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.settings import ExtractionSettings

SETTINGS = ExtractionSettings("one", "ab12", 4, 1.0, 2.0, 1.0)


@pytest.mark.parametrize("name", ["fps", "window", "stride"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), 1e-300, 1e300])
def test_numbers_have_limits(name: str, value: float) -> None:
    numbers = {"fps": 1.0, "window": 1.0, "stride": 1.0, name: value}
    with pytest.raises(UserError, match=rf"^{name} is {re.escape(str(value))}; it must be"):
        ExtractionSettings("one", "ab12", 4, **numbers)


def test_differences_name_both_values() -> None:
    other = ExtractionSettings("one", "ab12", 4, 2.0, 2.0, 0.5)
    assert SETTINGS.differences(other) == "fps 1.0, not 2.0, stride 1.0, not 0.5"


def test_a_model_may_have_moved() -> None:
    assert SETTINGS.differences(ExtractionSettings("two", "ab12", 4, 1.0, 2.0, 1.0)) == ""


def test_another_encoder_is_named_rather_than_its_fingerprint() -> None:
    other = ExtractionSettings("two", "cd34", 4, 1.0, 2.0, 1.0)
    assert SETTINGS.differences(other) == "encoder one, not two"
    retrained = ExtractionSettings("one", "cd34", 4, 1.0, 2.0, 1.0)
    assert SETTINGS.differences(retrained) == "fingerprint ab12, not cd34"
