from importlib.metadata import EntryPoint

import pytest

from data_modules.base import GROUP, import_plugins
from data_modules.charades import Charades
from dreamprvr.core import plugins


def install(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    points = [EntryPoint(name, value, GROUP) for name, value in values.items()]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)


def test_our_own_are_installed_like_any_other() -> None:
    found = plugins.installed(GROUP)
    assert {"activitynet", "charades", "qvhighlights", "synthetic", "tvr"} <= set(found)
    assert list(found) == sorted(found)
    assert import_plugins()["charades"] is Charades


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:Kitchen", r"data set bad \(no_such_module:Kitchen\) is broken: No mod"),
        ("data_modules.charades:Kitchen", "is broken: .*has no attribute 'Kitchen'"),
        ("data_modules.readers.tables:Annotations", "is not a PRVRDataModule"),
        ("data_modules.base:SPLITS", "is not a PRVRDataModule"),
    ],
)
def test_a_broken_plugin_only_warns_and_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    install(monkeypatch, bad=value, good="data_modules.charades:Charades")
    with pytest.warns(UserWarning, match=message):
        assert import_plugins() == {"good": Charades}
