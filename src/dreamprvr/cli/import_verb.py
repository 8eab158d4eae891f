"""import-checkpoint: a checkpoint that the authors released becomes one of ours."""

from pathlib import Path


def import_published(checkpoint: Path, *, output: Path, fit_options: list[str]) -> int:
    """Read a checkpoint that the authors released, and write it in the form of this program.

    It prints where the checkpoint and the configuration disagree.

    Args:
        checkpoint: file that the authors released.
        output: file to write.
        fit_options: options of `fit`, which describe the model.
    """
    from dreamprvr.cli.trainer_cli import configured
    from dreamprvr.training.published_checkpoint import FeatureSizes, import_checkpoint

    model = configured(fit_options).model.network
    sizes = FeatureSizes(model.video_dim, model.text_dim)
    remarks = import_checkpoint(
        checkpoint, output, type(model), model.config, sizes, model.objective_config
    )
    print(*remarks, f"written to {output}", sep="\n")
    return 0
