"""The installed models by name: the entry-point group `dreamprvr.models`, from any package."""

import sys
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.core.plugins import import_installed
from dreamprvr.core.text import meant, quote
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.parts import PartSetting, part_path
from dreamprvr.models.settings import read_settings

GROUP = "dreamprvr.models"
# Groups of entry points whose packages are trusted: a checkpoint may name a part of theirs.
TRUSTED = (GROUP, "dreamprvr.parts", "dreamprvr.datasets", "dreamprvr.encoders")
DEFAULT = "dreamprvr.models.dreamprvr.network.DreamPRVR"  # model of a checkpoint that names none


@cache
def import_models() -> Mapping[str, type[RetrievalModel]]:
    """Import every installed model; leave a broken one out with a warning."""
    return import_installed(GROUP, RetrievalModel, "model")


def class_path(model: type) -> str:
    """Give the path of a class as settings and checkpoints name it."""
    return f"{model.__module__}.{model.__qualname__}"


def find_model(name: str) -> type[RetrievalModel]:
    """Find an installed model.

    Only classes that are installed as models, or that the program has imported itself, are found:
    a checkpoint from others cannot make the program import another module.

    Args:
        name: name of the model's entry point, name of its class, or path of its class.

    Raises:
        UserError: there is no such model; the message lists the installed ones.
    """
    known = import_models()
    if name in known:
        return known[name]
    module, _, attribute = name.rpartition(".")
    exported = getattr(sys.modules.get(module), attribute, None)  # by a package, as `__init__` may
    for model in [*known.values(), *_subclasses(RetrievalModel)]:
        if name in (class_path(model), model.__name__) or exported is model:
            return model
    raise UserError(
        f"there is no model {name!r:.100}{meant(name, known)}; installed are {', '.join(known)}. "
        "Install the package that holds it"
    )


def _subclasses(base: type) -> list[type]:
    """List the subclasses of a class, their subclasses included."""
    direct: list[type] = list(base.__subclasses__())
    return direct + [deeper for each in direct for deeper in _subclasses(each)]


def build_model(settings: Mapping[str, Any]) -> RetrievalModel:
    """Make a model with new weights from the settings that a checkpoint holds.

    Args:
        settings: `model` (path of its class; DreamPRVR if absent), `video_dim`, `text_dim`,
            `network` and `objective`, as built-in types.

    Raises:
        UserError: there is no such model, or one of the settings is not allowed.
    """
    model = find_model(str(settings.get("model", DEFAULT)))
    network, objective = read_model_settings(model, settings)
    return model(int(settings["video_dim"]), int(settings["text_dim"]), network, objective)


def read_model_settings(
    model: type[RetrievalModel], settings: Mapping[str, Any]
) -> tuple[Any, Any]:
    """Read the settings of network and loss that a checkpoint holds.

    Args:
        model: class of the model.
        settings: `network` and `objective`, as for `build_model`.

    Raises:
        UserError: a setting is unknown or not allowed, or names a class that is not trusted.
    """
    network = read_settings(model.network_settings, settings.get("network"), "network")
    loss = settings.get("objective") or {}
    objective = read_settings(model.objective_settings, loss, "objective")
    trusted = {"dreamprvr"} | {
        point.module.partition(".")[0] for group in TRUSTED for point in entry_points(group=group)
    }
    for path in [*_part_paths(network), *_part_paths(objective)]:
        module = path.rpartition(".")[0]
        if module.partition(".")[0] not in trusted and module not in sys.modules:
            raise UserError(
                f"it names the class {quote(path)}, which no installed package offers as a part "
                "of a model; one that does has an entry point of the group dreamprvr.parts"
            )
    return network, objective


def _part_paths(settings: Any) -> list[str]:
    """List the paths of all classes that settings name."""
    paths = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.type in (PartSetting, PartSetting | None) and value is not None:
            paths.append(part_path(value))
        elif field.type == dict[str, PartSetting]:
            paths += [part_path(item) for item in value.values()]
    return paths
