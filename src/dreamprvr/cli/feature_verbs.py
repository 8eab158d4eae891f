"""extract and extract-text: videos and captions become feature files."""

from pathlib import Path

from dreamprvr.core.errors import UserError

STOPPED = "stopped; what is finished is kept, and the same command goes on from there"


def extract_videos(
    videos: list[str],
    *,
    output: Path,
    encoder: str = "clip-b32",
    fps: float | None = None,
    window: float | None = None,
    stride: float | None = None,
    device: str = "auto",
    batch_size: int = 32,
    prune: bool = False,
) -> int:
    """Turn video files into features with their seconds. Run again, it extracts what is new.

    The exit code is 1 if a file failed.

    Args:
        videos: folders (with all below them), files, or .txt lists with one path per line.
        output: feature file to write (HDF5).
        encoder: clip-b32, clip-l14, siglip2-base, resnet152, one of an installed package, or
            transformers:FOLDER.
        fps: pictures taken from a second of video; by default the encoder's own number.
        window: seconds that one row of features covers; by default the encoder's own number.
        stride: seconds from the start of one row to the next; by default the window.
        device: cpu, cuda, cuda:1, mps, or auto.
        batch_size: windows encoded at once.
        prune: drop videos of the feature file that are not named.
    """
    need_video_packages("extract")
    from dreamprvr.extraction.encoders import load_encoder
    from dreamprvr.extraction.extractor import extract, settings_of
    from dreamprvr.extraction.find_videos import find_videos

    found = find_videos(videos)
    loaded = load_encoder(encoder, device)
    settings = settings_of(loaded, fps, window, stride)
    try:
        summary = extract(found, loaded, settings, output, batch_size, prune)
    except KeyboardInterrupt:
        print(STOPPED)
        raise
    print("\n".join(summary.lines()))
    return summary.exit_code


def need_video_packages(verb: str) -> None:
    """Refuse at once if a package that reads videos is missing.

    Args:
        verb: verb of the command line, for the message.
    """
    try:
        import av  # noqa: F401
        import PIL  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{verb} needs {error.name}, which is not here: pip install 'dreamprvr[search]'"
        ) from None


def extract_words(
    captions: list[Path],
    *,
    output: Path,
    encoder: str = "clip-b32",
    device: str = "auto",
    batch_size: int = 64,
) -> int:
    """Turn captions into word features, to train on your own videos.

    Run again, it encodes what is new. The exit code is 1 if a caption gave no words.

    Args:
        captions: files with lines `<video id>#enc#<number> <text>`; for ids with spaces, .jsonl or
            .csv files with caption_id, video_id and caption.
        output: file of word features to write (HDF5).
        encoder: clip-b32, clip-l14, siglip2-base, one of an installed package, or
            transformers:FOLDER.
        device: cpu, cuda, cuda:1, mps, or auto.
        batch_size: captions encoded at once.
    """
    from dreamprvr.extraction.encoders import load_encoder
    from dreamprvr.extraction.text_features import extract_text, read_caption_files

    read = read_caption_files(captions)
    loaded = load_encoder(encoder, device)
    try:
        lines, complete = extract_text(read, loaded, output, batch_size)
    except KeyboardInterrupt:
        print(STOPPED)
        raise
    print("\n".join(lines))
    return 0 if complete else 1
