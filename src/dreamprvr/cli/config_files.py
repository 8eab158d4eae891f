"""Configuration files and options: where files are found, how settings are merged, the parser."""

import inspect
import json
import re
import sys
from dataclasses import asdict
from enum import Enum
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, Namespace

from data_modules.base import PRVRDataModule, import_plugins
from dreamprvr.cli.parser import refuse_unknown, setting_keys
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import meant, quote, read_text
from dreamprvr.core.yaml_text import YAML_BYTES, load_yaml
from dreamprvr.models.registry import DEFAULT, class_path, find_model, import_models

CALLBACKS = "trainer.callbacks"
EXTRA = "model.init_args.objective.extra"
TERM_ARGUMENT = re.compile(  # an option for an argument of a further loss term
    r"--model\.objective\.extra\.(\w+)\.(?:init_args\.)?(?!class_path$|init_args$)(\w+)"
)
SECTIONS = ("data", "model", "training", "trainer")
ADDONS = "addons"  # folder of files that change some settings of the model that others name
OF_MODEL = ("network", "objective")
OF_A_CLASS = ("class_path", "init_args", "dict_kwargs")  # keys of a class in jsonargparse
# options whose value may be the path of a file
BY_PATH = (*SECTIONS, "model.network", "model.objective", "training.optimizer")

# a default of a callback's argument may be an enum, which config.yaml holds as text
yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, one: dumper.represent_data(one.value))


# Files


def shipped_configs() -> list[str]:
    """List the names of the configuration files that come with the package."""
    folder = files("dreamprvr.configs")
    parts = (ADDONS, "features", "models")
    places = {"": folder} | {f"{part}/": folder.joinpath(part) for part in parts}
    names = [prefix + item.name for prefix, place in places.items() for item in place.iterdir()]
    return sorted(name for name in names if name.endswith(".yaml"))


def find_config(name: str) -> str:
    """Find a configuration file: `name` itself if it exists, else the shipped one.

    Args:
        name: path of a file, or name of a shipped one.

    Raises:
        UserError: there is neither.
    """
    if Path(name).exists():
        return name
    if name in shipped_configs():
        return str(files("dreamprvr.configs").joinpath(name))
    raise UserError(
        f"--config {name}: no such file here, and none is shipped by that name"
        f"{meant(name, shipped_configs())}; shipped are {', '.join(shipped_configs())}"
    )


class FindConfigFile(ActionConfigFile):
    """Option of jsonargparse for configuration files: the user's own, shipped ones, or YAML."""

    @staticmethod
    def apply_config(parser: Any, cfg: Any, dest: str, value: str) -> None:
        """Merge settings into those of earlier files.

        Callbacks and further loss terms are added to earlier ones. Another model takes none of the
        earlier model's settings. Settings under `benchmarks` apply to the data set of this class
        name alone.

        Args:
            parser: parser of the verb.
            cfg: settings so far; changed in place.
            dest: name of this option.
            value: path or name of a file, or YAML text that begins with a brace.
        """
        name, content = _read_config(value)
        benchmarks = content.pop("benchmarks", {})
        _merge(parser, cfg, dest, content, name)
        data = str(cfg.get("data.class_path")).rpartition(".")[2]
        if data in benchmarks:
            _merge(parser, cfg, dest, _in_their_places(benchmarks[data], name), name)


def _read_config(value: str) -> tuple[str, dict[str, Any]]:
    """Read a value of --config: its name for messages, and its settings in their places."""
    if value.lstrip().startswith("{"):  # a section that was given as an option
        content = load_yaml(value, "--config")
        name = f"--{next(iter(content), 'config')}"
    else:
        name = f"--config {value}"
        content = load_yaml(read_text(find_config(value), YAML_BYTES), name)
    return name, _in_their_places(content, name)


def name_data(words: list[str]) -> bool:
    """Return whether one of the configuration files names a data set.

    Args:
        words: words of the command line, as `configs_first` returns them.
    """
    for option, value in zip(words, [*words[1:], ""], strict=True):
        name, has_value, rest = option.partition("=")
        if name in ("-c", "--config") or option[:2] == "-c":
            text = rest if has_value else value if name in ("-c", "--config") else option[2:]
            data = _read_config(text)[1].get("data")
            if isinstance(data, str) or (isinstance(data, dict) and "class_path" in data):
                return True
    return False


def _merge(parser: Any, cfg: Any, dest: str, content: dict[str, Any], name: str) -> None:
    for key in setting_keys(parser, content):
        refuse_unknown(parser, key, f"{name}: ")
    earlier = as_list(cfg.get(CALLBACKS))
    in_addons = Path(name.removeprefix("--config ")).parent.name == ADDONS
    data = content.get("data", {})
    if isinstance(data, dict) and "class_path" in data:
        data["class_path"] = data_path(str(data["class_path"]))
    model = content.get("model", {})
    kind = model_class(str(model["class_path"])) if "class_path" in model else None
    if kind is not None:
        _refuse_untyped(kind)
        model["class_path"] = class_path(kind)
        if in_addons and model["class_path"] != cfg.get("model.class_path"):
            raise UserError(
                f"{name} changes {kind.__name__} alone: add --model {model_name(kind)}, or leave "
                "the file out"
            )
        if model["class_path"] != cfg.get("model.class_path"):
            cfg.pop("model", None)
            model["init_args"] = _with_defaults(kind, model.get("init_args") or {})
    _add_loss_terms(cfg.get(EXTRA), content)
    try:
        ActionConfigFile.apply_config(parser, cfg, dest, json.dumps(content))
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    if added := as_list(cfg.get(CALLBACKS)):
        adds = "callbacks" in content.get("trainer", {})
        cfg[CALLBACKS] = merged_callbacks([*earlier, *added]) if adds else earlier


def _add_loss_terms(earlier: Any, content: dict[str, Any]) -> None:
    """Add the loss terms of a file to those of earlier files, which jsonargparse would replace.

    A term that names no class changes arguments of the earlier term of its name.

    Args:
        earlier: `objective.extra` of earlier files, or None.
        content: settings of the file; changed in place.
    """
    section: Any = content
    for name in EXTRA.split(".")[:-1]:
        section = section.get(name) if isinstance(section, dict) else None
    terms = section.get("extra") if isinstance(section, dict) else None
    if not isinstance(earlier, dict) or not isinstance(terms, dict):
        return
    joined = dict(earlier)
    for name, term in terms.items():
        before = earlier.get(name)
        if isinstance(term, dict) and "class_path" not in term and before is not None:
            before = before if isinstance(before, dict) else {"class_path": before}
            arguments = (before.get("init_args") or {}) | (term.get("init_args") or {})
            term = {**before, **term, "init_args": arguments}
        joined[name] = term
    section["extra"] = joined


def _refuse_missing_package(name: str) -> None:
    """Refuse the path of a class whose package is not there."""
    package, dot, _ = name.partition(".")
    if not dot or not package.isidentifier() or package in sys.modules:
        return  # as __main__, which has no specification
    if find_spec(package) is None:
        raise UserError(f"{name}: there is no module {package}: install the package that holds it")


def data_path(name: str) -> str:
    """Return the path of a data set's class.

    Args:
        name: short name, class name or path of the class.

    Raises:
        UserError: no data set has this name.
    """
    installed = import_plugins()
    if name in installed:
        return class_path(installed[name])
    _refuse_missing_package(name)
    kinds: list[type] = [PRVRDataModule]
    for kind in kinds:  # the list grows in the loop
        kinds += kind.__subclasses__()
    if "." in name or name in {kind.__name__ for kind in kinds}:
        return name
    raise UserError(
        f"there is no data set {quote(name)}{meant(name, installed)}; `lightning datasets` lists "
        "those that are installed"
    )


def model_class(name: str) -> type | None:
    """Find the class of a model.

    Args:
        name: short name, class name or path of the class.

    Returns:
        The class; None for a path that cannot be imported, which jsonargparse reports later.

    Raises:
        UserError: no installed model has this name.
    """
    module, dot, attribute = name.rpartition(".")
    try:
        return find_model(name)
    except UserError:
        if not dot:
            raise
    _refuse_missing_package(name)
    try:
        kind = getattr(import_module(module), attribute, None)
    except ImportError:
        return None
    return kind if isinstance(kind, type) else None


def model_name(kind: type) -> str:
    """Return the shortest name of a model that --model takes."""
    return next((n for n, model in import_models().items() if model is kind), class_path(kind))


def _refuse_untyped(kind: type) -> None:
    """Refuse a model whose settings have no type, for which jsonargparse would guess one."""
    parameters = inspect.signature(kind).parameters
    for name in OF_MODEL:
        if name in parameters and parameters[name].annotation is inspect.Parameter.empty:
            settings = getattr(kind, f"{name}_settings", None)
            raise UserError(
                f"{class_path(kind)}.__init__ gives no type for {name}: write "
                f"{name}: {getattr(settings, '__name__', 'CLASS')}"
            )


def _with_defaults(kind: type, init_args: dict[str, Any]) -> dict[str, Any]:
    """Add the defaults of a model's settings, which jsonargparse leaves out."""
    defaults = {name: getattr(kind, f"{name}_settings", None) for name in OF_MODEL}
    filled = {
        name: asdict(settings()) | (init_args.get(name) or {})
        for name, settings in defaults.items()
        if settings is not None and isinstance(init_args.get(name) or {}, dict)
    }
    return init_args | filled


def _in_their_places(content: Any, name: str) -> dict[str, Any]:
    """Refuse empty sections, and move settings of the model to `init_args`.

    jsonargparse would accept a section without settings, and fail much later.
    """
    if not isinstance(content, dict):
        raise UserError(f"{name} does not hold settings by name")
    for section in ("model", "training", "trainer", "benchmarks"):
        value = content.get(section, {})
        if not isinstance(value, dict):
            shown = "empty" if value is None else repr(value)
            raise UserError(f"{name}: {section} is {shown}, not settings by name")
    if "model" in content:
        model = dict(content["model"])
        # jsonargparse does not name a wrong setting that stands beside `init_args`
        init_args = {key: model.pop(key) for key in [*model] if key not in OF_A_CLASS}
        if init_args:
            model["init_args"] = init_args | (model.get("init_args") or {})
        content["model"] = model
    return content


def as_list(value: Any) -> list[Any]:
    """Return one callback, a list of callbacks, or None as a list."""
    return [] if value is None else [*value] if isinstance(value, list) else [value]


def merged_callbacks(callbacks: list[Any]) -> list[Any]:
    """Leave out equal callbacks, and an EarlyStopping that a later one of the same value replaces.

    Args:
        callbacks: settings of callbacks, earlier ones first.
    """
    kept: dict[Any, Any] = {}
    for callback in callbacks:
        settings = callback.as_dict() if isinstance(callback, Namespace) else callback
        key: Any = repr(settings)
        if isinstance(settings, dict):
            name = str(settings.get("class_path")).rpartition(".")[2]
            if name == "EarlyStopping":
                key = name, (settings.get("init_args") or {}).get("monitor")
        kept[key] = callback
    return [*kept.values()]


# Options


def configs_first(arguments: list[str]) -> list[str]:
    """Put configuration files before the options, which win over them.

    An option for a whole section (`--model ms_sl`, `--trainer '{max_epochs: 3}'`) becomes one more
    file. Files of a folder `addons` come after the model, wherever it is named, because another
    model takes none of the settings of an earlier one. Files that follow an add-on stay after it,
    unless they name a model or a data set. A callback as an option is added to those of the files.
    An argument of a loss term as an option becomes the last file, which jsonargparse cannot do.
    The default model comes first: jsonargparse would mix defaults of the parser with other models.

    Args:
        arguments: words of the command line, with or without a verb at the start.
    """
    configs = ["--config", json.dumps({"model": {"class_path": DEFAULT}})]
    sections, late, terms, others = list[str](), list[str](), list[str](), list[str]()
    for word in (words := iter(arguments)):
        name, has_value, value = word.partition("=")
        if word in ("-c", "--config") and (path := next(words, None)) is not None:
            (late if _comes_late(path, late) else configs).extend([word, path])
        elif name in ("-c", "--config") or word[:2] == "-c":
            (late if _comes_late(value if has_value else word[2:], late) else configs).append(word)
        elif name[2:] in (*SECTIONS, "data.class_path", "model.class_path"):
            text = value if has_value else next(words, None)
            section = None if text is None else section_config(name[2:].partition(".")[0], text)
            if section is None:
                others += [word] if text is None or has_value else [word, text]
            elif name.startswith("--data"):  # first: settings in a model's file may depend on it
                sections = ["--config", section, *sections]
            elif name.startswith("--model"):
                sections += ["--config", section]
            else:
                terms += ["--config", section]
        elif word in ("--data.help", "--model.help"):
            others += [word, *_help_path(word, next(words, ""))]
        elif TERM_ARGUMENT.fullmatch(name):
            terms += ["--config", _term_section(name, value if has_value else next(words, ""))]
        elif name in (f"--{CALLBACKS}", f"--{CALLBACKS}.class_path"):
            others += _callback(value if has_value else next(words, ""))
        else:
            others.append(word)
    verb = [others.pop(0)] if others and not others[0].startswith("-") else []
    return [*verb, *configs, *sections, *late, *terms, *others]


def _comes_late(path: str, late: list[str]) -> bool:
    """Return whether a file is an add-on, or follows one and names neither model nor data set."""
    if Path(path).parent.name == ADDONS:
        return True
    if not late:
        return False
    content = _read_config(path)[1]
    named = [content.get(section) for section in ("data", "model")]
    return not any(isinstance(part, str) or "class_path" in (part or {}) for part in named)


def _term_section(option: str, value: str) -> str:
    """Write an option for an argument of a loss term as a configuration."""
    term, argument = re.fullmatch(TERM_ARGUMENT, option).groups()  # type: ignore[union-attr]
    given = {"init_args": {argument: load_yaml(value, option)}}
    return json.dumps({"model": {"init_args": {"objective": {"extra": {term: given}}}}})


def _callback(value: str) -> list[str]:
    """Write an option for a callback, which is added to the others, or clears them all."""
    plus = "" if value.strip() in ("", "null", "[]") else "+"
    return [f"--{CALLBACKS}{plus}", value]


def _help_path(option: str, name: str) -> list[str]:
    """Return the path of the class whose help is asked for; nothing if no name is given."""
    if not name:
        return []
    kind = model_class(name) if option == "--model.help" else None
    return [class_path(kind) if kind else data_path(name)]


def section_config(name: str, value: str) -> str | None:
    """Write an option for a whole section as a configuration; None if it is no such option.

    The name of a model stands for its published settings, if they are shipped.
    """
    content = _read_group(name, value)
    if content is not None:
        return json.dumps({name: content})
    if name == "model":
        kind, models = model_class(value), import_models()
        for shipped in [f"models/{short}.yaml" for short in models if models[short] is kind]:
            if shipped in shipped_configs():
                return shipped
    return json.dumps({name: {"class_path": value}}) if name in ("data", "model") else None


def _read_group(name: str, value: str) -> Any:
    """Read the settings that an option holds as YAML or as the path of a file; None if neither."""
    if value.lstrip().startswith("{"):
        return load_yaml(value, f"--{name}")
    if name in BY_PATH and Path(value).is_file():
        return load_yaml(read_text(value, YAML_BYTES), f"--{name} {value}")
    return None


def given_keys(arguments: list[str]) -> set[str]:
    """Return the names of all settings that are options, such as `model.network.dropout`.

    Args:
        arguments: words of the command line. An option may hold a whole group as YAML.
    """
    keys: set[str] = set()
    for word, following in zip(arguments, [*arguments[1:], ""], strict=False):
        if word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            keys |= _names(name, value if has_value else following)
    return {key.replace(".init_args.", ".") for key in keys}


def _names(name: str, value: Any) -> set[str]:
    if isinstance(value, str):
        group = _read_group(name, value)
        if group is None and name == "model":
            return {"model.class_path"}
        value = group
    if not isinstance(value, dict):
        return {name}
    return {name}.union(*(_names(f"{name}.{key}", part) for key, part in value.items()))
