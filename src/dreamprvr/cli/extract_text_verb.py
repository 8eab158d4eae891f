"""extract-text: caption files to word features, to train on one's own videos."""

from pathlib import Path

from dreamprvr.cli.values import STOPPED
from dreamprvr.cli.verb_parser import VerbParser


def extract_words(arguments: list[str]) -> int:
    """Encode what is new or changed; the exit code is 1 if a caption gave no words."""
    options = _parser().only(arguments)
    from dreamprvr.extraction.encoders import load_encoder
    from dreamprvr.extraction.text_features import extract_text, read_caption_files

    captions = read_caption_files(options.captions)
    encoder = load_encoder(options.encoder, options.device)
    try:
        lines, complete = extract_text(captions, encoder, options.output, options.batch_size)
    except KeyboardInterrupt:
        print(STOPPED)
        raise
    print("\n".join(lines))
    return 0 if complete else 1


def _parser() -> VerbParser:
    parser = VerbParser(
        "extract-text", "Captions to word features; run again, it encodes what is new.",
        configured=False,
    )  # fmt: skip
    add = parser.add_argument
    add("captions", nargs="+", type=Path, metavar="CAPTIONS",
        help="Files with `<video id>#enc#<number> <text>` a line; for ids with spaces, .jsonl or "
        ".csv files with caption_id, video_id, caption.")  # fmt: skip
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="Word features (HDF5).")
    add("--encoder", default="clip-b32",
        help="clip-b32, clip-l14, siglip2-base, one of an installed package, or "
        "transformers:FOLDER [clip-b32].")  # fmt: skip
    add("--device", default="auto", help="cpu, cuda, cuda:1, mps, or auto [auto].")
    add("--batch_size", type=int, default=64, help="Captions encoded at once [64].")
    return parser
