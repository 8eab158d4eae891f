"""What decides the rows of a feature file."""

from dataclasses import asdict, dataclass

from dreamprvr.core.errors import check_range

LARGEST_DIM = 2**20  # numbers a row
LARGEST_BATCH = 2**20  # windows or captions that are encoded at once
LEAST_FPS, MOST_FPS = 0.00001, 1000  # once a day; no recording shows more pictures a second
SHORTEST, LONGEST = 0.001, 86_400  # seconds of a window or stride: a millisecond, a day


@dataclass(frozen=True)
class ExtractionSettings:
    """How the videos of a feature file were cut and encoded.

    Args:
        encoder: name by which `load_encoder` finds the encoder again.
        fingerprint: of the encoder's weights and preprocessing.
        video_dim: F, numbers a row.
        fps: frames a second that are looked at.
        window: seconds that a row covers.
        stride: seconds from the start of a row to that of the next.

    Raises:
        UserError: a number is out of its limits.
    """

    encoder: str
    fingerprint: str
    video_dim: int
    fps: float
    window: float
    stride: float

    def __post_init__(self) -> None:
        check_range("video_dim", self.video_dim, 1, LARGEST_DIM, whole=True)
        check_range("fps", self.fps, LEAST_FPS, MOST_FPS)
        for name in ("window", "stride"):
            check_range(name, getattr(self, name), SHORTEST, LONGEST)

    def differences(self, other: "ExtractionSettings") -> str:
        """What makes rows of `other` unlike rows of these: "fps 2.0, not 1.0"; "" if nothing does.

        The encoder's name does not count, only its fingerprint: a model may have moved.
        """
        ours, theirs = asdict(self), asdict(other)
        names = [name for name in ours if name != "encoder" and ours[name] != theirs[name]]
        if "fingerprint" in names and self.encoder != other.encoder:
            names[names.index("fingerprint")] = "encoder"
        return ", ".join(f"{name} {ours[name]}, not {theirs[name]}" for name in names)
