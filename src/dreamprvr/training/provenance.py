"""What a training says of its features, so that search can refuse others."""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.feature_file import ExtractionSettings, FeatureFile

if TYPE_CHECKING:  # it imports Lightning, which searching does without
    from data_modules.base import PRVRDataModule

FINGERPRINT, TEXT, SETTINGS = "feature_fingerprint", "text_fingerprint", "feature_settings"
PROVENANCE = (FINGERPRINT, TEXT, SETTINGS)  # of a checkpoint's hyper-parameters
_COMPARED = ("fps", "window", "stride")


class Provenance(NamedTuple):
    """Which features a checkpoint was trained on, as far as it says.

    Args:
        fingerprint: of the encoder of the videos; "" if unknown.
        text_fingerprint: of the encoder of the words; "" if unknown.
        settings: fps, window and stride of the videos; without those that are unknown.
    """

    fingerprint: str
    text_fingerprint: str
    settings: Mapping[str, float]

    def differences(self, features: ExtractionSettings) -> tuple[str, str]:
        """How the settings of training and of features differ: "fps 1.0" and "fps 2.0"."""
        names = [name for name in self.settings if self.settings[name] != getattr(features, name)]
        ours = ", ".join(f"{name} {self.settings[name]}" for name in names)
        return ours, ", ".join(f"{name} {getattr(features, name)}" for name in names)


def trained_on(data: "PRVRDataModule") -> dict[str, Any]:
    """Hyper-parameters that say what is trained on, builtins only, as far as its files say."""
    videos = data.video_features()
    found: dict[str, float] = {}
    with suppress(UserError), FeatureFile(videos.path) as file:
        found = {name: getattr(file.settings, name) for name in _COMPARED}
    said = {FINGERPRINT: videos.fingerprint, TEXT: data.text_features().fingerprint}
    return {name: value for name, value in {**said, SETTINGS: found}.items() if value}


def read_provenance(hparams: Mapping[str, Any]) -> Provenance:
    """What a checkpoint's hyper-parameters say."""
    found = hparams.get(SETTINGS)
    numbers = found if isinstance(found, Mapping) else {}
    return Provenance(
        str(hparams.get(FINGERPRINT) or ""), str(hparams.get(TEXT) or ""),
        {name: float(numbers[name]) for name in _COMPARED
         if isinstance(numbers.get(name), (int, float))},
    )  # fmt: skip
