"""Write docs/licences.md: every package that the program needs at run time, with its licence.

    python .ci/licences.py          # write it
    python .ci/licences.py --check  # fail if it is not up to date

Names, versions and licences are those of the installed packages' metadata.
"""

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

TARGET = Path(__file__).parents[1] / "docs" / "licences.md"
EXTRAS = ("parquet", "tensorboard", "text", "search")
COPYLEFT = re.compile(r"GPL|General Public|MPL|Mozilla|EPL|EUPL|CDDL|CeCILL")
# The metadata do not say what a wheel has inside.
INSIDE = {
    "av": "the wheels hold FFmpeg, which calls itself LGPL-3.0, and the encoders x264 and x265, "
    "which are GPL-2.0-or-later: use is free; whoever passes on a wheel must comply with both",
}
TEXT = """# Licences of the dependencies

Written by `.ci/licences.py` from the metadata of the packages in `constraints.txt`, as installed on
Linux for Python 3.11 with torch's build for the CPU. torch's CUDA build also brings
proprietary packages of NVIDIA. Packages that only development needs are not listed.

"""


def needed(name: str, extras: tuple[str, ...], found: dict[str, Distribution]) -> None:
    """Add all that a package requires, and what that requires, to `found`."""
    for text in distribution(name).requires or []:
        wanted = Requirement(text)
        if wanted.marker and not any(
            wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        ):
            continue
        key = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if key in found and not wanted.extras:
            continue
        try:
            found[key] = distribution(wanted.name)
        except PackageNotFoundError:
            raise SystemExit(f"{wanted.name} is not installed: make lint installs it") from None
        needed(wanted.name, tuple(sorted(wanted.extras)), found)


def licence(package: Distribution) -> str:
    """The licence of a package, as short as its metadata give it."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classes = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier") or []
        if line.startswith("License ::") and line != "License :: OSI Approved"
    ]
    text = (metadata.get("License") or "").strip()
    if text and "\n" not in text and len(text) < 60:
        return text
    if classes:
        return ", ".join(classes)
    files = [str(file) for file in package.files or [] if re.search("LICEN[CS]E", str(file))]
    if files and (start := package.read_text(files[0].partition("/")[2])):
        return start.strip().splitlines()[0].strip()
    return (text.splitlines() or ["not said"])[0]


def page() -> str:
    """The whole page."""
    found: dict[str, Distribution] = {}
    needed("dreamprvr", EXTRAS, found)
    rows = [(name, found[name].version, licence(found[name])) for name in sorted(found)]
    lines = ["| package | version | licence |", "|---|---|---|"]
    lines += [f"| {name} | {version} | {said} |" for name, version, said in rows]
    marked = [f"- {name}: {said}" for name, _, said in rows if COPYLEFT.search(said)]
    inside = [f"- {name}: {said}" for name, said in INSIDE.items() if name in found]
    copyleft = "\n".join(["## Copyleft", "", *inside, *marked])
    return TEXT + copyleft + "\n\n## All\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--check" not in sys.argv:
        TARGET.write_text(page(), encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != page():
        raise SystemExit(f"{TARGET} is not up to date: run python .ci/licences.py")
