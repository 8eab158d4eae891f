"""HLFormer (ICCV 2025, arXiv 2507.17402); see README.md here."""

from dreamprvr.models.hlformer.network import HLFormer, HLFormerConfig, ObjectiveConfig

__all__ = ["HLFormer", "HLFormerConfig", "ObjectiveConfig"]
