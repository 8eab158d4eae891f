"""fit, validate, test and predict; and what other verbs take from the options of `fit`."""

import sys
import warnings
from argparse import SUPPRESS
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning import Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.strategies.launchers import subprocess_script
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from data_modules.base import PRVRDataModule, import_plugins
from dreamprvr.cli.callbacks import LOG_EVERY, all_callbacks, check_monitors
from dreamprvr.cli.config_files import (
    FindConfigFile,
    as_list,
    configs_first,
    given_keys,
    merged_callbacks,
    name_data,
)
from dreamprvr.cli.parser import OneLineParser, namespace_items, refuse_unknown
from dreamprvr.cli.processes import watch
from dreamprvr.cli.runs import RunFolder
from dreamprvr.cli.trainer_settings import (
    check_seed,
    check_trainer,
    count_batches_in_whole_numbers,
    is_lightnings,
)
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import listed, quote
from dreamprvr.evaluation.record import plain
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.registry import class_path, find_model
from dreamprvr.models.settings import read_settings
from dreamprvr.training.callbacks.checkpoints import AtomicCheckpointIO, noted_checkpoint
from dreamprvr.training.callbacks.predictions import PredictionWriter, RankWriter
from dreamprvr.training.checkpoint import (
    Trained,
    disagreements,
    newest_whole,
    read_checkpoint,
    refuse_other_shapes,
    trained_model,
)
from dreamprvr.training.module import PRVRModule
from dreamprvr.training.training_state import check_training_state

SIZES = ("num_clips", "max_frames", "max_words")
NO_DATA = "no data set is named: add --config FILE (say --config tvr.yaml) or --data NAME"
ABOUT = ("-h", "--help", "--data.help", "--model.help")  # options that need no data set
DEFAULT_ROOT = Path("runs")

count_batches_in_whole_numbers(Trainer)


def _input_size(name: str) -> Callable[[Any], int]:
    """Make the function that reads one of a model's `InputSizes` from its configuration."""

    def read(model: Any) -> int:
        settings = model.get("init_args.network") or {}
        if not isinstance(settings, (Namespace, dict)):
            raise UserError(f"model.init_args.network is {quote(settings)}, not settings by name")
        network = read_settings(
            find_model(model["class_path"]).network_settings, namespace_items(settings), "network"
        )
        return int(getattr(network, name))

    return read


class PRVRCLI(LightningCLI):
    """Lightning's command line for `PRVRModule` and any `PRVRDataModule`.

    Args:
        run: whether to run a subcommand; otherwise only the model and the data set are made.
        args: arguments; those of the process if None.
    """

    def __init__(self, run: bool = True, args: list[str] | None = None) -> None:
        self.has_verb = run
        self._subcommand_parsers: dict[str, Any] = {}
        words = sys.argv[1:] if args is None else args
        self.verb = words[0] if run and words else ""
        super().__init__(
            model_class=PRVRModule,
            datamodule_class=PRVRDataModule,
            parser_class=OneLineParser,
            save_config_callback=None,  # RunFolder writes it once the checkpoint is loaded
            seed_everything_default=0,
            # a gallery cut short by a sanity check holds few of the true videos
            trainer_defaults={"num_sanity_val_steps": 0, "log_every_n_steps": LOG_EVERY},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            run=run,
            args=args,
        )

    # Parsing

    def _add_subcommands(self, parser: Any, **kwargs: Any) -> None:
        """Add the verb that is asked for alone: each takes a share of a second to make."""
        every = LightningCLI.subcommands()
        verbs = {self.verb: every[self.verb]} if self.verb in every else every
        self.subcommands = lambda: verbs  # type: ignore[method-assign]
        super()._add_subcommands(parser, **kwargs)

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parse `args`, or those of the process."""
        arguments = sys.argv[1:] if args is None else args
        self.given = given_keys(arguments)
        words = configs_first(arguments)
        for size in SIZES:
            if f"data.{size}" in self.given:
                raise UserError(f"data.{size} follows the model: give --model.network.{size}")
        verb = self._subcommand_parsers.get(words[0], parser)
        for word in words:
            if word.startswith("--") and len(word) > 2:
                refuse_unknown(verb, word[2:].partition("=")[0].rstrip("+"))
        if not set(ABOUT) & set(words) and not name_data(words):
            raise UserError(NO_DATA)
        self.config = parser.parse_args(words)
        trainer = (self.config[self.verb] if self.verb else self.config).trainer
        if trainer.callbacks is not None:
            trainer.callbacks = merged_callbacks(as_list(trainer.callbacks))

    def init_parser(self, **kwargs: Any) -> OneLineParser:
        """Make a parser whose --config looks among the shipped files too."""
        # not by sys.argv[0], which a strategy of several processes starts again
        parser = OneLineParser(**{"prog": "lightning", **kwargs})
        parser.add_argument(
            "-c", "--config", action=FindConfigFile,
            help="Configuration file: your own, or the name of a shipped one. Give several to "
            "add fragments.",
        )  # fmt: skip
        return parser

    def add_core_arguments_to_parser(self, parser: Any) -> None:
        """Add the sections: data, model, training, trainer."""
        for base, name in ((PRVRDataModule, "data"), (RetrievalModel, "model")):
            _add_class(parser, base, name)
        parser.add_lightning_class_args(PRVRModule, "training")
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.set_defaults({f"trainer.{k}": v for k, v in self.trainer_defaults.items()})
        parser.groups["data"].title = "Data set: --data NAME; --data.help NAME lists its settings"
        parser.groups["model"].title = (
            "Model: --model NAME (dreamprvr if left out), --model.network.SETTING VALUE and "
            "--model.objective.SETTING VALUE; --model.help NAME lists the settings"
        )
        unusable = ("barebones", "model_registry", "enable_autolog_hparams")
        for action in parser._actions:  # help does not show what cannot work here
            if action.dest.removeprefix("trainer.") in unusable:
                action.help = SUPPRESS

    def add_arguments_to_parser(self, parser: Any) -> None:
        """Tell the model the sizes of the features, and the data the lengths that it pools to."""
        for size in ("video_dim", "text_dim"):
            parser.link_arguments(f"data.{size}", f"model.init_args.{size}", apply_on="instantiate")
        for size in SIZES:
            parser.link_arguments("model", f"data.init_args.{size}", _input_size(size))
        parser.link_arguments("model", "training.model", apply_on="instantiate")
        parser._action_groups.remove(parser._links_group)  # no options: --help is shorter for it
        # all verbs know them, so that a run's config.yaml and the fragments fit all verbs
        parser.add_argument("--wandb", type=bool, default=False, help="Log to wandb.")
        parser.add_argument("--tensorboard", type=bool, default=False, help="And to TensorBoard.")
        if not self.has_verb:  # a run's config.yaml has them
            for name in ("ckpt_path", "weights_only", "init_from"):
                parser.add_argument(f"--{name}", type=Any, default=None, help=SUPPRESS)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> Any:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        texts = {"ckpt_path": "Checkpoint to use; fit resumes it.", "weights_only": SUPPRESS}
        for action in parser._actions:  # Lightning's texts describe registries of models
            action.help = texts.get(action.dest, action.help)
        if subcommand == "fit":
            parser.add_argument(
                "--init_from", type=str | None, default=None,
                help="Start from this checkpoint's weights (fine-tuning); --ckpt_path resumes.",
            )  # fmt: skip
        else:  # a run's config.yaml has it
            parser.add_argument("--init_from", type=Any, default=None, help=SUPPRESS)
        if subcommand in ("validate", "test"):
            parser.set_defaults({"verbose": False})
            parser.add_argument(
                "--ranks", type=str | None, default=None,
                help="Also write the rank of each query to this CSV file.",
            )  # fmt: skip
        if subcommand == "predict":
            parser.add_argument(
                "--output", type=str, default="predictions.jsonl",
                help="File to write: .jsonl or .parquet.",
            )  # fmt: skip
            parser.add_argument("--top_k", type=int, default=100, help="Videos of each query.")
            parser.set_defaults({"return_predictions": False})
        return parser

    def _parse_ckpt_path(self) -> None:
        """Join the network's settings with the checkpoint's; refuse a verb that needs one.

        The weights belong to the checkpoint's settings, so they win over files and defaults. An
        option of the command line wins over them, unless it changes the shape of a weight.
        """
        if not self.config.get("subcommand"):
            return
        name = self.config.subcommand
        options = self.config[name]
        both = {"ckpt_path", "init_from"} <= self.given  # a run's config.yaml may hold the other
        if name == "fit" and both and options.ckpt_path and options.init_from:
            raise UserError(
                "--ckpt_path goes on with a training, --init_from begins one: give one of the two"
            )
        if name == "fit" and not options.ckpt_path:  # a job of SLURM that was requeued
            options.ckpt_path = noted_checkpoint(
                Path(options.trainer.default_root_dir or DEFAULT_ROOT)
            )
        path = options.get("ckpt_path") or (options.get("init_from") if name == "fit" else None)
        if not path:
            if name != "fit":
                raise UserError(f"{name} needs trained weights: give --ckpt_path FILE")
            return
        if name == "predict":  # before a large file is read
            PredictionWriter(Path(options.output)).check_place()
        elif options.get("ranks"):
            RankWriter(Path(options.ranks)).check_place()
        try:
            checkpoint = read_checkpoint(path)
        except UserError as error:
            whole = newest_whole(Path(path)) if Path(path).is_file() else None
            raise UserError(f"{error}; {whole} is whole" if whole else str(error)) from None
        if name == "fit" and options.ckpt_path and "optimizer_states" not in checkpoint:
            raise UserError(f"{path} holds weights only, no training to resume: use --init_from")
        trained = trained_model(checkpoint, path)
        begins = name == "fit" and not options.ckpt_path
        model = self._checkpoints_model(options.pop("model"), trained, begins)
        self.config = self.parser.parse_object({name: {"model": model}}, self.config)

    def _checkpoints_model(self, configured: Any, trained: Trained, begins: bool) -> dict[str, Any]:
        """Choose between the settings of a checkpoint's model and those of the configuration.

        Args:
            configured: section `model` of the configuration.
            trained: the model of the checkpoint.
            begins: True if a new training begins from the weights. It may add parts to the model.

        Returns:
            The section `model` to use.

        Raises:
            UserError: an option names another model, or changes the shape of a weight.
        """
        path, kept = class_path(trained.kind), trained.settings()
        saved: dict[str, Any] = kept["network"]
        ours = namespace_items(configured.init_args.network)
        objective = namespace_items(configured.init_args.objective)
        same = find_model(configured.class_path) is trained.kind
        if not same:
            if "model.class_path" in self.given:
                raise UserError(
                    f"--model {configured.class_path}: the checkpoint holds a {path}; leave the "
                    "option out, or train anew"
                )
            print(f"model is {path}, as in the checkpoint ({configured.class_path} is configured)")
            objective = kept["objective"]
        for key, value in saved.items():
            if key not in ours or plain(ours[key]) == plain(value):
                continue
            if value is None and begins and same:
                print(f"network.{key} is added to the checkpoint's model, with new weights")
                saved[key] = ours[key]
            elif f"model.network.{key}" in self.given:
                changed = trained._replace(network=replace(trained.network, **{key: ours[key]}))
                if disagreements(changed):
                    raise UserError(
                        f"--model.network.{key} {ours[key]}: the checkpoint's weights were made "
                        f"for {value}; leave the option out, or train anew"
                    )
                print(f"network.{key} is {ours[key]}, as you say ({value} in the checkpoint)")
                saved[key] = ours[key]
            elif same:
                print(f"network.{key} is {value}, as in the checkpoint ({ours[key]} is configured)")
        return {"class_path": path, "init_args": {"network": saved, "objective": objective}}

    def before_fit(self) -> None:
        """Check a training to resume, or load other weights; then open the run's folder."""
        options = self.config_init.fit
        try:
            self.model.make_optimizer(self.model.network.parameter_groups())
        except (ValueError, TypeError) as error:
            raise UserError(f"training.optimizer: {error}") from error
        check_monitors(self.trainer.callbacks, self.model.network, self.datamodule)  # type: ignore[attr-defined]
        path = options.ckpt_path or options.init_from
        if path:
            checkpoint = read_checkpoint(path)
            ours, weights = self.model.state_dict(), checkpoint["state_dict"]
            if not options.ckpt_path:  # parts that are added have no weights in the checkpoint
                weights = {**ours, **weights}
                if added := [name for name in ours if name not in checkpoint["state_dict"]]:
                    print(f"{len(added)} weights are new: {listed(added)}")
            refuse_other_shapes(ours, weights)
        if options.ckpt_path:
            check_training_state(checkpoint, path, self.trainer, self.model)
            given = (key.removeprefix("training.optimizer.") for key in self.given)
            self.model.given_to_optimizer = frozenset(given)
        elif path:
            self.model.load_state_dict(weights)
        if self.run_folder is not None:
            self._open_run(self.run_folder)

    def _open_run(self, run: RunFolder) -> None:
        options = self.config_init.fit
        if self.trainer.is_global_zero:
            run.open()
        run.config = self._parser("fit").dump(self.config.fit, skip_none=False)
        if options.trainer.logger is not False:
            ours = run.loggers(options.wandb, options.tensorboard)
            self.trainer.loggers = [*ours, *self.trainer.loggers]

    def _run_subcommand(self, subcommand: str) -> None:
        """Run it; settings that the trainer refuses only then are a mistake of the user's too."""
        try:
            super()._run_subcommand(subcommand)
        except (MisconfigurationException, ValueError, RuntimeError) as error:
            if not (isinstance(error, MisconfigurationException) or is_lightnings(error)):
                raise
            raise UserError(f"trainer: {error}") from error
        finally:
            if self.run_folder is not None:
                self.run_folder.abandon()

    # Instantiation

    def _set_seed(self) -> None:
        if self.has_verb:
            check_seed(self._get(self.config, "seed_everything"))
            super()._set_seed()

    def before_instantiate_classes(self) -> None:
        """Refuse what cannot train, and hand the network what its verb needs."""
        check_trainer(self._get(self.config, "trainer"), self.subcommand)
        if self.subcommand == "predict":
            self.config.predict.training.top_k = self.config.predict.top_k

    def instantiate_classes(self) -> None:
        """Make data, model and trainer; a class may refuse the values of its settings."""
        self.config_init = _instances(self.parser, self.config)
        self.datamodule = self._get(self.config_init, "data")
        self.model = self._get(self.config_init, "training")
        if self.has_verb:
            self.trainer = self.instantiate_trainer()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer with our loggers and callbacks."""
        config = self._get(self.config_init, "trainer")
        if config.default_root_dir is None:
            config.default_root_dir = str(DEFAULT_ROOT / self.datamodule.collection)
            self._get(self.config, "trainer").default_root_dir = config.default_root_dir
        self.run_folder: RunFolder | None = None
        trains = self.subcommand == "fit" and not config.fast_dev_run
        has_logger = trains and config.logger is not False
        if config.logger in (None, True) or self.subcommand != "fit":
            kwargs["logger"] = False  # `before_fit` makes ours
        config.callbacks = all_callbacks(self.subcommand, config, has_logger)
        if trains:
            ckpt_path = self.config_init.fit.ckpt_path
            self.run_folder = RunFolder(Path(config.default_root_dir), ckpt_path)
            config.callbacks += [self.run_folder]
        elif self.subcommand != "fit":
            # of the callback that kept the best checkpoint, which evaluation does not use
            warnings.filterwarnings("ignore", message="The dirpath has changed")
        if self.subcommand == "predict":
            config.callbacks += [PredictionWriter(Path(self.config_init.predict.output))]
        if ranks := self._get(self.config_init, "ranks"):
            config.callbacks += [RankWriter(Path(ranks))]
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
            raise UserError(f"trainer: {error}") from error
        # signals are left to `core.stopping`: Lightning's handlers, and its question to all
        # processes before each step, wait for processes that may not answer
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # no plugin of the user's
            trainer.strategy.checkpoint_io = AtomicCheckpointIO(self.subcommand != "fit")
        return trainer


class _DataCLI(PRVRCLI):
    """Makes the data set alone."""

    def instantiate_classes(self) -> None:
        """Make the data set by a parser without the model that is linked to it."""
        parser = OneLineParser()
        _add_class(parser, PRVRDataModule, "data")
        self.datamodule = _instances(parser, Namespace(data=self.config.data)).data


def _add_class(parser: OneLineParser, base: type, name: str) -> None:
    """Add a section that names a class, and its settings."""
    # a default of None would make it optional, and every message would say so
    parser.add_subclass_arguments(base, name, fail_untyped=False, required=True, default=SUPPRESS)


def _instances(parser: Any, config: Any) -> Any:
    """Make the objects of a configuration; a class may refuse the values of its settings."""
    try:
        return parser.instantiate_classes(config)
    except ValueError as error:
        if error.__cause__ is None:
            raise
        raise UserError(f"configuration: {error.__cause__}") from error


def run() -> None:
    """Parse the process's arguments and run the subcommand."""
    subprocess_script._launch_process_observer = watch  # type: ignore[assignment]
    PRVRCLI()


def configured(arguments: list[str], kind: type[PRVRCLI] = PRVRCLI) -> PRVRCLI:
    """Make the model and the data set that options of `fit` describe, and no trainer.

    Args:
        arguments: the options.
        kind: class of the command line.

    Returns:
        The command line, with `model` and `datamodule`.

    Raises:
        UserError: an option is unknown or has a bad value, or no data set is named.
    """
    import_plugins()
    return kind(run=False, args=arguments)


def configured_data(arguments: list[str]) -> PRVRDataModule:
    """Make the data set that options of `fit` describe; its features need not be there.

    Args:
        arguments: the options; wrong ones raise an error as in `configured`.
    """
    return configured(arguments, _DataCLI).datamodule
