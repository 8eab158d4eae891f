"""MS-SL (ACM MM 2022, arXiv 2208.12510); see README.md here."""

from dreamprvr.models.ms_sl.network import MSSL, MSSLConfig, ObjectiveConfig

__all__ = ["MSSL", "MSSLConfig", "ObjectiveConfig"]
