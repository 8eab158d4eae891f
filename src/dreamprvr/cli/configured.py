"""A configuration's model and data set without a trainer, for the verbs that train nothing."""

from argparse import SUPPRESS
from typing import Any

from data_modules.base import PRVRDataModule, import_plugins
from dreamprvr.cli.trainer_cli import PRVRCLI
from dreamprvr.core.errors import UserError


class _ConfiguredCLI(PRVRCLI):
    """Parses what `fit` parses, and makes no trainer."""

    def add_arguments_to_parser(self, parser: Any) -> None:
        super().add_arguments_to_parser(parser)
        for name in ("ckpt_path", "weights_only", "init_from"):  # a run's config.yaml has them
            parser.add_argument(f"--{name}", type=Any, default=None, help=SUPPRESS)

    def _set_seed(self) -> None:
        """Nothing here is random."""

    def instantiate_classes(self) -> None:
        self.config_init = self.parser.instantiate_classes(self.config)
        self.datamodule = self.config_init.data
        self.model = self.config_init.model


def configured(arguments: list[str]) -> PRVRCLI:
    """The command line with `model` and `datamodule` made from `fit`'s options.

    Raises:
        UserError: an option is unknown or has a bad value, or no data set is named.
    """
    if not arguments:
        raise UserError("give --config FILE, say --config tvr.yaml")
    import_plugins()
    return _ConfiguredCLI(run=False, args=arguments)


def configured_data(arguments: list[str]) -> PRVRDataModule:
    """The data set made from `fit`'s options; raises as `configured` does."""
    return configured(arguments).datamodule
