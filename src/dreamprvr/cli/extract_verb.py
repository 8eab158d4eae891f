"""extract: video files to a feature file."""

from pathlib import Path

from dreamprvr.cli.values import STOPPED
from dreamprvr.cli.verb_parser import VerbParser
from dreamprvr.core.errors import UserError


def extract_videos(arguments: list[str]) -> int:
    """Extract what is new or changed; the exit code is 1 if a file failed."""
    options = _parser().only(arguments)
    _need_av()
    from dreamprvr.extraction.encoders import load_encoder
    from dreamprvr.extraction.extractor import extract, settings_of
    from dreamprvr.extraction.find_videos import find_videos

    found = find_videos(options.videos)
    encoder = load_encoder(options.encoder, options.device)
    settings = settings_of(encoder, options.fps, options.window, options.stride)
    try:
        summary = extract(
            found, encoder, settings, options.output, options.batch_size, options.prune
        )
    except KeyboardInterrupt:
        print(STOPPED)
        raise
    print("\n".join(summary.lines()))
    return summary.exit_code


def _parser() -> VerbParser:
    parser = VerbParser(
        "extract", "Video files to features, in seconds; run again, it extracts what is new.",
        configured=False,
    )  # fmt: skip
    add = parser.add_argument
    add("videos", nargs="+", metavar="VIDEOS",
        help="Folders (with all below them), files, or .txt lists with a path a line.")  # fmt: skip
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="Feature file (HDF5).")
    add("--encoder", default="clip-b32",
        help="clip-b32, clip-l14, siglip2-base, resnet152, one of an installed package, or "
        "transformers:FOLDER [clip-b32].")  # fmt: skip
    add("--fps", type=float, help="Looks at the video a second [the encoder's].")
    add("--window", type=float, help="Seconds of a row [the encoder's].")
    add("--stride", type=float, help="Seconds from a row to the next [the window].")
    add("--device", default="auto", help="cpu, cuda, cuda:1, mps, or auto [auto].")
    add("--batch_size", type=int, default=32, help="Windows encoded at once [32].")
    add("--prune", action="store_true", help="Drop videos of FILE that are not named.")
    return parser


def _need_av() -> None:
    try:
        import av  # noqa: F401
        import PIL  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"extract needs {error.name}, which is not here: pip install 'dreamprvr[search]'"
        ) from None
