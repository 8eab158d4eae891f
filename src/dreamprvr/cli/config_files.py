"""Finding configuration files: the user's own first, then the shipped ones."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile

from dreamprvr.errors import UserError


def shipped_configs() -> list[str]:
    """Names of the configuration files that come with the package."""
    folder = files("dreamprvr.configs")
    return sorted(item.name for item in folder.iterdir() if item.name.endswith(".yaml"))


def find_config(name: str) -> str:
    """Path of a configuration file: `name` itself if it exists, else the shipped one.

    Raises:
        UserError: there is neither.
    """
    if Path(name).is_file():
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
        """Merge the file that `value` names into `cfg`."""
        path = find_config(value)
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"--config {value} is not YAML: {error}") from None
        _refuse_other_forms(value, content)
        ActionConfigFile.apply_config(parser, cfg, dest, path)


def _refuse_other_forms(name: str, content: Any) -> None:
    """jsonargparse would take a section without settings as it is, and fail much later."""
    if not isinstance(content, dict):
        raise UserError(f"--config {name} does not hold settings by name")
    for section in ("model", "trainer"):
        value = content.get(section, {})
        if not isinstance(value, dict):
            found = "empty" if value is None else repr(value)
            raise UserError(f"--config {name}: {section} is {found}, not settings by name")
