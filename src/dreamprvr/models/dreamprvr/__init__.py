"""DreamPRVR: diffusion-guided registers (CVPR 2026, arXiv 2604.03653); see README.md here."""

from dreamprvr.models.dreamprvr.config import DreamPRVRConfig, ObjectiveConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR

__all__ = ["DreamPRVR", "DreamPRVRConfig", "ObjectiveConfig"]
