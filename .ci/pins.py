"""Print pip constraints that pin every dependency of setup.cfg to its lower bound.

A name that stands in several groups gets its highest bound, as pip would choose.
"""

import configparser
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement  # a new environment has only pip
from pip._vendor.packaging.version import Version


def lower_bounds(path: Path) -> dict[str, Version]:
    """Read the lower bound of each dependency, in all groups of a setup.cfg.

    Args:
        path: the file.

    Returns:
        For each name the version after `>=` or `==`.

    Raises:
        ValueError: a dependency has no lower bound.
    """
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(path)
    groups = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    bounds: dict[str, Version] = {}
    for line in (line.strip() for group in groups for line in group.splitlines()):
        if not line or line.startswith(("#", "%")):
            continue
        wanted = Requirement(line)
        found = [Version(s.version) for s in wanted.specifier if s.operator in (">=", "==")]
        if not found:
            raise ValueError(f"setup.cfg: {line} has no lower bound")
        bounds[wanted.name] = max([*found, bounds.get(wanted.name, found[0])])
    return bounds


if __name__ == "__main__":
    for name, version in lower_bounds(Path(__file__).parents[1] / "setup.cfg").items():
        print(f"{name}=={version}")
