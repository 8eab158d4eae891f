"""data check, data convert and data baselines.

Options are parsed before anything large is imported: help and mistakes answer at once.
"""

from pathlib import Path

from dreamprvr.cli.verb_parser import VerbParser


def check_data(arguments: list[str]) -> int:
    """Print what is there, missing or broken; the exit code is 1 if training would fail."""
    _, rest = VerbParser("data check", "Check a data set.").split(arguments)
    from data_modules.checking.check import check
    from dreamprvr.cli.configured import configured_data

    report = check(configured_data(rest))
    print(report.text())
    return 0 if report.ok else 1


def convert(arguments: list[str]) -> int:
    """Write the big file of a folder, or of the configured data set, as HDF5."""
    parser = VerbParser("data convert", "Big file to feature.hdf5.")
    parser.add_argument(
        "folder", nargs="?", type=Path,
        help="Folder of feature.bin; without it, that of the configured data set.",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, help="File to write [FOLDER/feature.hdf5].")
    options, rest = parser.split(arguments)
    folder = options.folder
    if folder is None:
        from dreamprvr.cli.configured import configured_data

        data = configured_data(rest)
        folder = data.folder / data.feature_set.video
    else:
        parser.refuse(rest)
    from data_modules.readers.convert import convert_big_file

    print(f"features are in {convert_big_file(folder, options.output)}")
    return 0


def baselines(arguments: list[str]) -> int:
    """Print the results of methods without a network on the test split."""
    parser = VerbParser("data baselines", "Chance, mean pooling and max over time.")
    _, rest = parser.split(arguments)
    from dreamprvr.cli.configured import configured_data
    from dreamprvr.evaluation.baselines import evaluate_baselines
    from dreamprvr.evaluation.metrics import results_table

    data = configured_data(rest)
    data.prepare_data()
    print(results_table(evaluate_baselines(data), f"{data.collection} test"))
    return 0
