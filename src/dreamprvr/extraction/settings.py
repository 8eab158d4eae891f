"""What decides the rows of a feature file."""

import math
from dataclasses import asdict, dataclass

from dreamprvr.errors import UserError


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
        UserError: a number is not above 0.
    """

    encoder: str
    fingerprint: str
    video_dim: int
    fps: float
    window: float
    stride: float

    def __post_init__(self) -> None:
        for name in ("video_dim", "fps", "window", "stride"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"{name} is {value}; it must be above 0")

    def differences(self, other: "ExtractionSettings") -> str:
        """What makes rows of `other` unlike rows of these: "fps 2.0, not 1.0"; "" if nothing does.

        The encoder's name does not count, only its fingerprint: a model may have moved.
        """
        ours, theirs = asdict(self), asdict(other)
        names = [name for name in ours if name != "encoder" and ours[name] != theirs[name]]
        if "fingerprint" in names and self.encoder != other.encoder:
            names[names.index("fingerprint")] = "encoder"
        return ", ".join(f"{name} {ours[name]}, not {theirs[name]}" for name in names)
