"""GMMFormer v2 (arXiv 2405.13824); see README.md here."""

from dreamprvr.models.gmmformer_v2.network import GMMFormerV2, GMMFormerV2Config, ObjectiveConfig

__all__ = ["GMMFormerV2", "GMMFormerV2Config", "ObjectiveConfig"]
