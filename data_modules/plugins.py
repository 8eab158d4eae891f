"""Benchmarks of other packages: the entry-point group `dreamprvr.datasets`."""

import warnings
from importlib.metadata import EntryPoint, entry_points

from data_modules.base import PRVRDataModule

GROUP = "dreamprvr.datasets"


def installed_datasets() -> dict[str, EntryPoint]:
    """Entry points of all installed benchmarks, ours included, by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)}


def load_dataset(point: EntryPoint) -> type[PRVRDataModule] | None:
    """The class behind an entry point; None, with a warning, if it is broken."""
    try:
        loaded = point.load()
    except Exception as error:  # a stranger's package may fail in any way
        warnings.warn(f"data set {point.name} ({point.value}) is broken: {error}", stacklevel=2)
        return None
    if not (isinstance(loaded, type) and issubclass(loaded, PRVRDataModule)):
        warnings.warn(
            f"data set {point.name} ({point.value}) is not a PRVRDataModule", stacklevel=2
        )
        return None
    return loaded


def import_plugins() -> dict[str, type[PRVRDataModule]]:
    """Import every installed benchmark, so that its bare class name is known."""
    loaded = {name: load_dataset(point) for name, point in installed_datasets().items()}
    return {name: dataset for name, dataset in loaded.items() if dataset is not None}
