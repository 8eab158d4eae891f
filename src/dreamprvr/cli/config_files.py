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
            yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"--config {value} is not YAML: {error}") from None
        ActionConfigFile.apply_config(parser, cfg, dest, path)
