"""Old place of `dreamprvr.core.text.one_line`."""

from dreamprvr.core.text import one_line

__all__ = ["one_line"]
