"""One program, `lightning` or `dreamprvr`: the first word picks the verb."""

import logging
import os
import sys
import warnings
from contextlib import suppress

from dreamprvr.cli.processes import (
    GRACE,
    end_others,
    failed_process,
    follow_parent,
    is_first,
    is_one_of_several,
    leave_to_first,
)
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import DISK_FULL
from dreamprvr.core.stopping import Stopped, listening
from dreamprvr.core.text import message_line, shorten

TRAINER_VERBS = {"fit", "validate", "test", "predict"}
LONGEST = 2000  # characters of a message, however much it quotes
CLOSED = 141  # exit code that a shell gives to a program that SIGPIPE ended
USAGE = """\
usage: lightning VERB [options]      (`dreamprvr` is the same program)

  fit                train:            lightning fit --config tvr.yaml --data.root DIR
  validate, test     evaluate:         lightning test --config tvr.yaml --ckpt_path FILE
  predict            answer queries:   lightning predict --config tvr.yaml --ckpt_path FILE
  compare            several models, the same budget, one table
  import-checkpoint  read a checkpoint that the authors released
  data check         report files and ids that are missing or broken
  data convert       big file (feature.bin) -> HDF5
  data simulate      real annotations -> a full data set with stand-in features
  data baselines     chance, mean pooling, max over time and moment tokens on a benchmark
  datasets, models   the benchmarks and the models that are installed
  up                 videos -> a search page, in one command: lightning up VIDEOS [--open]
  extract            videos -> features: lightning extract VIDEOS -o features.hdf5
  extract-text       captions -> word features, to train on your own videos
  index              features -> a library: lightning index features.hdf5 -o library/
  search             lightning search library/ "a man flips a pancake"
  library            list, delete, compact or describe the videos of a library
  serve              search a library in a browser: lightning serve library/ [--open]

`lightning VERB --help` lists a verb's options.
"""


def main() -> None:
    """Run the command line.

    The exit code is 2 after bad input, with one line that gives the reason, 130 after Ctrl-C, and
    128 plus its number after another signal. A training saves before a signal ends it. If the
    program that reads the output ends, as `head` does, the exit code is 141 without a message.
    """
    _quieten()
    _print_anything()
    code = 1
    try:
        code = _outcome()
    except Exception:
        if not is_one_of_several():
            raise
        sys.excepthook(*sys.exc_info())
    finally:
        several = is_one_of_several()
        code = end_others(code)
    if code and several:  # a normal end may wait for processes that have ended already
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    if code:
        sys.exit(code)


def _outcome() -> int:
    """Run the command line and return its exit code; print a mistake of the user as one line."""
    try:
        return _run(sys.argv[1:])
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning has ended it with 1
            return 130
        raise
    except Stopped as stop:
        if stop.agreed and not is_first():
            leave_to_first()
            return stop.code
        return _say(str(stop), stop.code)
    except BrokenPipeError:
        if not _reader_is_gone():  # it was some other pipe
            raise
        _drop_output()
        return CLOSED
    except Exception as error:
        # libraries wrap an error that a class of ours raises while they construct it
        mistake = _mistake(error)
        if mistake is not None:
            return _say(f"error: {shorten(message_line(mistake), LONGEST)}", 2)
        if code := failed_process(GRACE + 2):  # another process has failed before this one
            return code
        leave_to_first()
        raise


def _run(arguments: list[str]) -> int:
    """Run a verb, write all of its output, and return its exit code."""
    try:
        code = _verb(arguments)
    except SystemExit:  # as after --help
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return code


def _verb(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
    elif arguments[0] in TRAINER_VERBS:
        _trainer_verb()
    else:
        from dreamprvr.cli.verbs import run_verb

        return run_verb(arguments)
    return 0


def _mistake(error: BaseException | None) -> str | None:
    """Return a line on a mistake that the user can correct, or None for a bug of ours."""
    while error is not None:
        if isinstance(error, UserError):
            return str(error)
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            place = error.filename or "the run's folder"
            return f"{place}: {error.strerror}; make room there, then run again"
        error = error.__cause__ or error.__context__
    return None


def _quieten() -> None:
    """Hide the warnings that come at every start, and those that no user can act on."""
    # more loading workers: --data.num_workers sets them
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # Lightning 2.6 calls a function that torch 2.13 renamed
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    # evaluation needs none of the callbacks that training saved
    warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")
    # predict_step has no answer for a batch of the gallery
    warnings.filterwarnings("ignore", message="predict returned None.*")
    # logged values of an evaluation come from all processes already
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
    # a resumed run continues in its folder, which also holds wandb's files; nothing is lost
    warnings.filterwarnings("ignore", message=".*directory .* exists and is not empty.*")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "Tip:" not in record.getMessage()
    )


def _trainer_verb() -> None:
    follow_parent()
    with listening():
        from data_modules.base import import_plugins
        from dreamprvr.cli.trainer_cli import run

        import_plugins()
        run()


def _say(line: str, code: int) -> int:
    leave_to_first()
    print(line, file=sys.stderr)
    return code


def _print_anything() -> None:
    """Print letters that the output's encoding lacks as escapes like "\\xe4"."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def _reader_is_gone() -> bool:
    """Return whether the reader of the output has ended, as `head` does."""
    try:
        print(flush=True)
    except BrokenPipeError:
        return True
    return False


def _drop_output() -> None:
    """Discard the output that Python writes when it ends, which would fail again."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            with suppress(OSError):  # a stream without a file
                os.dup2(null, stream.fileno())
    os.close(null)
