"""import-checkpoint: a checkpoint that the authors released becomes one of ours."""

from pathlib import Path

from dreamprvr.cli.verb_parser import VerbParser


def import_published(arguments: list[str]) -> int:
    """Write the checkpoint in our form, and print where it and the configuration disagree."""
    parser = VerbParser("import-checkpoint", "Read a checkpoint that the authors released.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="File to write.")
    options, rest = parser.split(arguments)
    from dreamprvr.cli.configured import configured
    from dreamprvr.training.published_checkpoint import FeatureSizes, import_checkpoint

    model = configured(rest).model.network
    sizes = FeatureSizes(model.video_dim, model.text_dim)
    remarks = import_checkpoint(
        options.checkpoint, options.output, type(model), model.config, sizes,
        model.objective_config,
    )  # fmt: skip
    print(*remarks, f"written to {options.output}", sep="\n")
    return 0
