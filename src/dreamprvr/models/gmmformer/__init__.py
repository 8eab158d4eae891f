"""GMMFormer (AAAI 2024, arXiv 2310.05195); see README.md here."""

from dreamprvr.models.gmmformer.network import GMMFormer, GMMFormerConfig, ObjectiveConfig

__all__ = ["GMMFormer", "GMMFormerConfig", "ObjectiveConfig"]
