from importlib.metadata import EntryPoint

import pytest

from data_modules import plugins
from data_modules.charades import Charades
from data_modules.plugins import GROUP, import_plugins, installed_datasets, load_dataset


def point(value: str) -> EntryPoint:
    return EntryPoint("other", value, GROUP)


def test_our_own_are_installed_like_any_other():
    found = installed_datasets()
    assert {"activitynet", "charades", "synthetic", "tvr"} <= set(found)
    assert list(found) == sorted(found)
    assert load_dataset(found["charades"]) is Charades


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:Kitchen", r"data set other \(no_such_module:Kitchen\) is broken: No mod"),
        ("data_modules.charades:Kitchen", "is broken: .*has no attribute 'Kitchen'"),
        ("data_modules.schema:Annotations", "is not a PRVRDataModule"),
        ("data_modules.layout:SPLITS", "is not a PRVRDataModule"),
    ],
)
def test_a_broken_plugin_only_warns(value: str, message: str):
    with pytest.warns(UserWarning, match=message):
        assert load_dataset(point(value)) is None


def test_the_others_still_load(monkeypatch: pytest.MonkeyPatch):
    points = {"bad": point("no_such_module:A"), "good": point("data_modules.charades:Charades")}
    monkeypatch.setattr(plugins, "installed_datasets", lambda: points)
    with pytest.warns(UserWarning, match="no_such_module"):
        assert import_plugins() == {"good": Charades}
