from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamprvr.core.errors import UserError
from dreamprvr.core.yaml_text import DEPTH, VALUES, load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: 1e-4", {"a": 1e-4}),
        ("a: 2026-11-28", {"a": "2026-11-28"}),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("a: {x: 1}\nb: {x: 1}", {"a": {"x": 1}, "b": {"x": 1}}),
        ("base: &b {x: 1}\nc:\n  <<: *b\n  y: 2", {"base": {"x": 1}, "c": {"x": 1, "y": 2}}),
        ("a: 'fish & *chips'", {"a": "fish & *chips"}),
    ],
)
def test_yaml_values(text: str, value: object) -> None:
    assert load_yaml(text) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 1", "f, line 2: a stands twice (first in line 1)"),
        ("a:\n  b: 1\n  c: 2\n  b: 3", "f, line 4: b stands twice (first in line 2)"),
        ("- {a: 1, 'a': 2}", "f, line 1: a stands twice"),
        ("a: &a [*a]", "f, line 1: an alias within itself"),
        ("a: &a [x]\nb: [*c]", "f is not YAML"),
        ("a: [", "f is not YAML"),
        ("0:", "f is not YAML: its only key is not text"),
        ("a: '[&a [1,1], {b: 1, b: *a}]'", "f, line 1, within text, line 1: b stands twice"),
        ("[" * (DEPTH + 1), f"f, line 1: YAML is read up to {DEPTH} levels deep"),
        ("- 1\n" * VALUES, f"YAML is read up to {VALUES:,} values"),
    ],
)
def test_yaml_that_is_lossy_or_huge_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load_yaml(text, "f")
    line = str(caught.value)
    assert line.startswith(said) or said in line
    assert "\n" not in line


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="ab:-&*!|>'\"{}[],# \n0<", max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with suppress(UserError):
        load_yaml(text)


def test_yaml_that_is_nested_beyond_all_limits_is_refused() -> None:
    # libyaml has a limit of its own since PyYAML 6.0.4
    with pytest.raises(UserError, match=r"^f, line 1: YAML is read up to 50|maximum nesting depth"):
        load_yaml("[" * 100_000, "f")
