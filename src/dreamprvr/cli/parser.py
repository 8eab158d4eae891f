"""The argument parser, with errors of one line."""

import difflib
import re
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from dreamprvr.errors import UserError

_UNKNOWN = re.compile(
    r"(?:Key|Option|Unrecognized arguments:|unknown option)\s*['\"]?(?:--)?([\w.]+)"
)


class OneLineParser(LightningArgumentParser):
    """Raises `UserError` in place of printing usage, and names the nearest known key."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # type: ignore[override]
        """Turn a parsing failure into one line."""
        if isinstance(ex, UserError):
            raise ex
        line = " ".join(str(message).split())
        raise UserError(line + self._suggestion(line)) from None

    def _suggestion(self, message: str) -> str:
        if not any(word in message for word in ("not expected", "Unrecognized", "not accepted")):
            return ""
        found = re.search(r"(?:--|[Kk]ey[s]? ['\"]|['\"])([A-Za-z_][\w.]*)", message)
        if not found:
            return ""
        unknown = found.group(1)
        near = difflib.get_close_matches(unknown, self._known_keys(), n=1, cutoff=0.5)
        return f" (did you mean {near[0]}?)" if near else ""

    def _known_keys(self) -> list[str]:
        return [action.dest for action in self._actions if action.dest]


def namespace_items(value: Any) -> dict[str, Any]:
    """A jsonargparse namespace as a plain dictionary."""
    return value.as_dict() if hasattr(value, "as_dict") else dict(value)
