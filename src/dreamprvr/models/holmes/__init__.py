"""Holmes (ICML 2026, arXiv 2605.06083); see README.md here."""

from dreamprvr.models.holmes.network import Holmes, HolmesConfig, ObjectiveConfig

__all__ = ["Holmes", "HolmesConfig", "ObjectiveConfig"]
