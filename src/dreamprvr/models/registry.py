"""Installed models, by name: the entry-point group `dreamprvr.models`, from any package."""

import sys
import warnings
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.parts import PartSetting, part_path
from dreamprvr.models.settings import read_settings

GROUP = "dreamprvr.models"
DEFAULT = "dreamprvr.models.dreamprvr.network.DreamPRVR"  # of checkpoints that name none


def installed_models() -> dict[str, EntryPoint]:
    """List the entry points of all installed models, ours included, by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)}


@cache
def import_models() -> Mapping[str, type[RetrievalModel]]:
    """Import every installed model; a broken one is left out, with a warning."""
    loaded: dict[str, type[RetrievalModel]] = {}
    for name, point in installed_models().items():
        try:
            found = point.load()
        except Exception as error:  # a stranger's package may fail in any way
            warnings.warn(f"model {name} ({point.value}) is broken: {error}", stacklevel=2)
            continue
        if isinstance(found, type) and issubclass(found, RetrievalModel):
            loaded[name] = found
        else:
            warnings.warn(f"model {name} ({point.value}) is not a RetrievalModel", stacklevel=2)
    return loaded


def class_path(model: type) -> str:
    """Write the path of a class, as settings and checkpoints name it."""
    return f"{model.__module__}.{model.__qualname__}"


def find_model(name: str) -> type[RetrievalModel]:
    """Find an installed model by its name, or by the path of its class.

    Only classes that are installed as models, or that the program has imported itself, are found:
    a checkpoint of a stranger cannot have another module imported.

    Raises:
        UserError: there is none; lists those that there are.
    """
    known = import_models()
    if name in known:
        return known[name]
    for model in [*known.values(), *_subclasses(RetrievalModel)]:
        if name in (class_path(model), model.__name__):
            return model
    raise UserError(
        f"there is no model {name!r:.100}; installed are {', '.join(known)}. Install the package "
        "that holds it"
    )


def _subclasses(base: type) -> list[type]:
    found: list[type] = list(base.__subclasses__())
    return found + [deeper for each in found for deeper in _subclasses(each)]


def build_model(settings: Mapping[str, Any]) -> RetrievalModel:
    """Make a model, with new weights, from the settings that a checkpoint holds.

    Args:
        settings: `model` (path of its class; DreamPRVR if absent), `video_dim`, `text_dim`,
            `network` and `objective`, each of builtins.

    Raises:
        UserError: the settings make no model; says which.
    """
    model = find_model(str(settings.get("model", DEFAULT)))
    network, objective = read_model_settings(model, settings)
    return model(int(settings["video_dim"]), int(settings["text_dim"]), network, objective)


def read_model_settings(
    model: type[RetrievalModel], settings: Mapping[str, Any]
) -> tuple[Any, Any]:
    """Read the settings of network and objective that a checkpoint holds.

    Args:
        model: class of the model.
        settings: as in `build_model`.

    Raises:
        UserError: a setting is unknown or not allowed, or names a class that is not trusted.
    """
    network = read_settings(model.network_settings, settings.get("network"), "network")
    objective = read_settings(
        model.objective_settings, settings.get("objective") or {}, "objective"
    )
    for path in [*_parts(network), *_parts(objective)]:
        module = path.rpartition(".")[0]
        if module.partition(".")[0] not in _trusted() and module not in sys.modules:
            raise UserError(
                f"it names the class {quote(path)}, which no installed package offers as a part "
                f"of a model; one that does has an entry point of the group {GROUP}"
            )
    return network, objective


def _parts(settings: Any) -> list[str]:
    """Paths of all classes that settings name."""
    paths = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.type == PartSetting:
            paths.append(part_path(value))
        elif field.type == dict[str, PartSetting]:
            paths += [part_path(item) for item in value.values()]
    return paths


def _trusted() -> set[str]:
    """Packages whose classes a checkpoint may name."""
    return {"dreamprvr"} | {point.module.partition(".")[0] for point in installed_models().values()}
