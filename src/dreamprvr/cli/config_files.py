"""Configuration files: the user's own first, then the shipped ones; and who wins over whom."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, Namespace

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import read_text
from dreamprvr.core.yaml_text import YAML_BYTES, load_yaml

CALLBACKS = "trainer.callbacks"


def shipped_configs() -> list[str]:
    """Names of the configuration files that come with the package."""
    folder = files("dreamprvr.configs")
    return sorted(item.name for item in folder.iterdir() if item.name.endswith(".yaml"))


def find_config(name: str) -> str:
    """Path of a configuration file: `name` itself if it exists, else the shipped one.

    Raises:
        UserError: there is neither.
    """
    if Path(name).exists():
        return name
    if name in shipped_configs():
        return str(files("dreamprvr.configs").joinpath(name))
    raise UserError(
        f"--config {name}: no such file here, and none is shipped by that name; "
        f"shipped are {', '.join(shipped_configs())}"
    )


class FindConfigFile(ActionConfigFile):
    """jsonargparse's configuration file option, looking in both places."""

    @staticmethod
    def apply_config(parser: Any, cfg: Any, dest: str, value: str) -> None:
        """Merge the file that `value` names into `cfg`; its callbacks are added to earlier ones."""
        path = find_config(value)
        content = load_yaml(read_text(path, YAML_BYTES), f"--config {value}")
        _refuse_other_forms(value, content)
        earlier = as_list(cfg.get(CALLBACKS))
        ActionConfigFile.apply_config(parser, cfg, dest, path)
        if added := as_list(cfg.get(CALLBACKS)):
            adds = "callbacks" in content.get("trainer", {})
            cfg[CALLBACKS] = merged_callbacks([*earlier, *added]) if adds else earlier


def as_list(value: Any) -> list[Any]:
    """One callback, a list of them, or None as a list."""
    return [] if value is None else [*value] if isinstance(value, list) else [value]


def merged_callbacks(callbacks: list[Any]) -> list[Any]:
    """Leave out what stands twice: a later EarlyStopping replaces one of the same value.

    Two that differ in other ways are both kept; the trainer refuses those that exclude each other.

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


def configs_first(arguments: list[str]) -> list[str]:
    """Put the configuration files before all other options, which win over them in any order.

    A callback that is given as an option is added to those of the files.

    Args:
        arguments: of the command line, with or without a verb at the start.
    """
    configs: list[str] = []
    others: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in ("-c", "--config"):
            configs += [word, *([found] if (found := next(words, None)) is not None else [])]
        elif word.startswith(("--config=", "-c=")) or (word[:2] == "-c" and word[2:]):
            configs.append(word)
        elif word.partition("=")[0] in (f"--{CALLBACKS}", f"--{CALLBACKS}.class_path"):
            _, has_value, value = word.partition("=")
            value = value if has_value else next(words, "")
            clears = value.strip() in ("", "null", "[]")
            others += [f"--{CALLBACKS}" if clears else f"--{CALLBACKS}+", value]
        else:
            others.append(word)
    at = 1 if others[:1] and not others[0].startswith("-") else 0
    return [*others[:at], *configs, *others[at:]]


def given_keys(arguments: list[str]) -> set[str]:
    """Names of all settings that options of the command line give, `model.network.dropout` say.

    Args:
        arguments: of the command line. An option may hold a whole group as YAML.
    """
    keys: set[str] = set()
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if not word.startswith("--"):
            continue
        name, has_value, value = word[2:].partition("=")
        keys |= _names(name, value if has_value else following)
    return {key.replace(".init_args.", ".") for key in keys}


def _names(name: str, value: Any) -> set[str]:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = load_yaml(value, f"--{name}")
    elif name in ("model", "model.network", "model.optimizer") and Path(str(value)).is_file():
        value = load_yaml(read_text(value, YAML_BYTES), f"--{name} {value}")
    if not isinstance(value, dict):
        return {name}
    return {name}.union(*(_names(f"{name}.{key}", part) for key, part in value.items()))


def _refuse_other_forms(name: str, content: Any) -> None:
    """jsonargparse would take a section without settings as it is, and fail much later."""
    if not isinstance(content, dict):
        raise UserError(f"--config {name} does not hold settings by name")
    for section in ("model", "trainer"):
        value = content.get(section, {})
        if not isinstance(value, dict):
            found = "empty" if value is None else repr(value)
            raise UserError(f"--config {name}: {section} is {found}, not settings by name")
