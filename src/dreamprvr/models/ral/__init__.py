"""RAL (arXiv 2509.01383) on GMMFormer v2; see README.md here."""

from dreamprvr.models.ral.network import RAL, ObjectiveConfig, RALConfig

__all__ = ["RAL", "ObjectiveConfig", "RALConfig"]
