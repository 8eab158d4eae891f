"""Remembers the pictures that clients have sent, so that they can search for them again."""

import hashlib
import threading
from collections import OrderedDict
from io import BytesIO

from PIL import Image
from starlette.exceptions import HTTPException

from dreamprvr.serve.workers import Check

LARGEST = 20_000_000  # bytes of a picture that is taken
_HELD = 100_000_000  # bytes of all pictures together
_SIDE = 160  # pixels of the longer side of a picture that the page shows


class Pictures:
    """Pictures in memory; those not used for longest are forgotten. Nothing is on the disk."""

    def __init__(self) -> None:
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, content: bytes) -> str:
        """Keep a file, and return its name: the same for the same content.

        Args:
            content: content of the file, whatever it is.
        """
        name = hashlib.sha256(content).hexdigest()[:40]
        with self._lock:
            self._contents[name] = content
            self._contents.move_to_end(name)
            while sum(map(len, self._contents.values())) > _HELD:
                self._contents.popitem(last=False)
        return name

    def forget(self, name: str) -> None:
        """Forget a file."""
        with self._lock:
            self._contents.pop(name, None)

    def content(self, name: str) -> bytes:
        """Return the content of a file.

        Args:
            name: name of the file, as `keep` has returned it.

        Raises:
            HTTPException: 404, it was forgotten.
        """
        with self._lock:
            if name not in self._contents:
                raise HTTPException(404, "the server has forgotten this picture: send it again")
            self._contents.move_to_end(name)
            return self._contents[name]


def small(content: bytes, check: Check) -> bytes:
    """Make a JPEG of a picture that is small enough to be shown beside its results.

    Args:
        content: content of the picture's file.
        check: called once; what it raises ends the work.

    Raises:
        UserError: it is no picture.
    """
    from dreamprvr.search.examples import read_picture  # torch comes with it, which takes seconds

    check()
    picture = Image.fromarray(read_picture(content))
    picture.thumbnail((_SIDE, _SIDE))
    shown = BytesIO()
    picture.save(shown, "JPEG", quality=82)
    return shown.getvalue()
