"""The models of a comparison: how they are named, and the whole configuration of each."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import inside, write_text
from dreamprvr.core.text import quote, read_text
from dreamprvr.core.yaml_text import YAML_BYTES, load_yaml

if TYPE_CHECKING:
    from data_modules.base import PRVRDataModule

RESERVED = ("comparison", "cost")  # names of files in its folder
_LABEL = re.compile(r"\w[\w.+-]*")


class Entrant(NamedTuple):
    """A model of a comparison.

    Attributes:
        label: its name in the table and in the names of its files.
        parts: name or class path of a model, and paths of configuration files, in their order.
    """

    label: str
    parts: tuple[str, ...]


class Plan(NamedTuple):
    """The trainings of a comparison.

    Attributes:
        folder: path of its folder.
        configurations: whole configuration of each model by its label, without a seed; the first
            model is the reference.
        first_seed: first of the seeds.
        data: data sets of the models; models that read the same files share one.
    """

    folder: Path
    configurations: dict[str, dict[str, Any]]
    first_seed: int
    data: Sequence["PRVRDataModule"] = ()

    def refuse_missing_data(self) -> None:
        """Refuse a comparison whose files are missing or incomplete; generate those that can be."""
        for data in self.data:
            data.packed = None  # the first training packs them
            data.prepare_data()
            data.refuse_missing_files(("train", "val", "test"))


def read_models(text: str) -> list[Entrant]:
    """Read the option --models.

    Args:
        text: models between commas, as the help of `lightning compare` describes them.

    Raises:
        UserError: a model is not named, or two have the same label.
    """
    entrants: list[Entrant] = []
    for word in text.split(","):
        before, equals, after = word.strip().partition("=")
        parts = tuple((after if equals else before).split("+"))
        label = before if equals else "+".join(map(_short, parts))
        if equals and "" not in (before, *parts) and not _is_label(label):
            raise UserError(
                f"--models: {quote(label)} is no label: it begins with a letter or digit, may hold "
                f"also . + - and _, and is not {' or '.join(RESERVED)}"
            )
        if "" in parts or not _is_label(label):
            raise UserError(
                f"--models: {quote(word)} is no model: give names or files between commas, with + "
                "between files that belong together, and LABEL= before one to name it"
            )
        if label in {entrant.label for entrant in entrants}:
            advice = "give each a label of its own" if equals else f"write LABEL={parts[0]} for one"
            raise UserError(f"--models names {label} twice: {advice}")
        entrants.append(Entrant(label, parts))
    return entrants


def _is_label(label: str) -> bool:
    return _LABEL.fullmatch(label) is not None and label not in RESERVED


def _short(part: str) -> str:
    return Path(part).stem if _is_file(part) else part.rpartition(".")[2]


def _is_file(part: str) -> bool:
    return part.endswith((".yaml", ".yml"))


def make_plan(entrants: Sequence[Entrant], name: str | None, fit_options: list[str]) -> Plan:
    """Resolve the configuration of every model, before anything is trained.

    All models get the same section `trainer`: that of the options of `fit` and their files, without
    what the files of a model say, so that no model is trained longer than another.

    Args:
        entrants: the models, the reference first.
        name: name of the comparison; None for that of the data set.
        fit_options: options of `fit`.

    Raises:
        UserError: an option or a model is unknown or wrong, or an option is not for a comparison.
    """
    if name is not None and (name in ("", ".", "..") or "/" in name):
        raise UserError(f"--name {quote(name)}: give a name without / and ..")
    base, base_data = _resolved(fit_options)
    first = base["seed_everything"]
    if isinstance(first, bool) or not isinstance(first, int):
        raise UserError(f"seed_everything is {first}; compare needs the number of a first seed")
    root = Path(base["trainer"]["default_root_dir"] or "runs")
    trainer = {**base["trainer"], "default_root_dir": None}
    # the file of a model may hold something for this data set, which may be an option
    data = ["--config", json.dumps({"data": base["data"]})]
    configurations = {}
    read = {}
    for entrant in entrants:
        files = [word for part in entrant.parts for word in ("--config", _as_config(part))]
        whole, its_data = _resolved([*data, *fit_options, *files])
        read[type(its_data), its_data.root, str(its_data.feature_set), its_data.labels] = its_data
        del whole["seed_everything"]
        configurations[entrant.label] = {**whole, "trainer": trainer}
    folder_name = base_data.collection if name is None else name
    folder = inside(root, "compare", folder_name, kind="folder")
    return Plan(folder, configurations, first, [*read.values()])


def _resolved(options: list[str]) -> tuple[dict[str, Any], "PRVRDataModule"]:
    """Resolve options of `fit` to a whole configuration, and make its data set."""
    from dreamprvr.cli.trainer_cli import configured

    cli = configured(options)
    for key in ("ckpt_path", "init_from"):
        if cli.config.get(key):
            raise UserError(f"--{key} is of one model; compare trains every model from the start")
    return load_yaml(cli.parser.dump(cli.config, skip_unset=False)), cli.datamodule


def _as_config(part: str) -> str:
    """Return a value of --config that stands for a part of a model.

    The option --model would be merged after all files, and so take away what they add.
    """
    from dreamprvr.cli.config_files import section_config

    return part if _is_file(part) else str(section_config("model", part))


def record_configurations(folder: Path, configurations: Mapping[str, dict[str, Any]]) -> None:
    """Write `<label>.yaml` for each model, unless the folder holds runs of other settings.

    Args:
        folder: path of the folder of the comparison.
        configurations: whole configurations by label.

    Raises:
        UserError: a model of the folder was configured differently, or trained with another
            section `trainer`; the message names the first setting that differs.
    """
    import yaml

    texts = {name: yaml.safe_dump(c, sort_keys=False) for name, c in configurations.items()}
    ours = {name: load_yaml(text) for name, text in texts.items()}
    trainer = {"trainer": next(iter(ours.values()))["trainer"]}
    for path in sorted(folder.glob("*.yaml")):
        theirs = load_yaml(read_text(path, YAML_BYTES), str(path))
        theirs = theirs if isinstance(theirs, dict) else {}
        wanted = ours.get(path.stem, trainer)
        saved = theirs if path.stem in ours else {"trainer": theirs.get("trainer")}
        if changed := difference(saved, wanted):
            raise UserError(
                f"{folder} holds runs of {path.stem} with {changed}: give another --name, or "
                "delete that folder"
            )
    for name, text in texts.items():
        if not (path := folder / f"{name}.yaml").exists():
            write_text(path, text, folder)


def difference(saved: Any, wanted: Any, key: str = "") -> str:
    """Name the first setting that differs between two configurations.

    Args:
        saved: a value of the earlier one.
        wanted: the value of the other one.
        key: name of the setting that both are of.

    Returns:
        A phrase such as "trainer.max_epochs 100, not 20"; nothing if there is no difference.
    """
    if isinstance(saved, dict) and isinstance(wanted, dict):
        for name in dict.fromkeys([*saved, *wanted]):
            inner = f"{key}.{name}" if key else str(name)
            if found := difference(saved.get(name), wanted.get(name), inner):
                return found
        return ""
    return "" if saved == wanted else f"{key} {quote(saved)}, not {quote(wanted)}"
