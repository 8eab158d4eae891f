"""Walk HDF5 files in a process of its own, so that a hang or crash of HDF5 hits nobody else.

The process takes a path as a JSON string on each line of its input, and answers with a JSON object
on a line of its output: empty for a file that can be walked, else `errno` and `message` of what
stopped it. Empty lines in between say that the walk goes on. `data_modules.hdf5_check` runs it; the
module imports nothing of the project, to start fast.

All that `data_modules.hdf5` later does with a file is done here first: opening, listing, looking up
by name, reading attributes, shapes and chunk indexes, and the first row of each dataset that is
stored in chunks. Errors that HDF5 reports of a single object are passed over here: whoever reads
that object gets them again. Values of rows are not looked at.
"""

import json
import math
import os
import sys
import time
from contextlib import suppress

import h5py
import numpy as np

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

BEAT_SECONDS = 0.5
LINK_BYTES = 8  # a link takes more than this in any form of group
MEMORY_BYTES = 4 * 2**30
# What h5py raises on files that are truncated, damaged or hostile.
ERRORS = (OSError, RuntimeError, ValueError, LookupError, TypeError, OverflowError)


class EndlessError(Exception):
    """The file lists more objects than it has room for."""


class Progress:
    """Counts objects, and says now and then that the walk goes on.

    Args:
        most: objects that the file can hold at most.
        seconds: of computing that one step may take.
    """

    def __init__(self, most: int, seconds: int) -> None:
        self.left, self.seconds = most, seconds
        self.said = time.monotonic()
        limit_time(seconds)

    def step(self, *_: object) -> bool | None:
        """Count one object.

        Returns:
            True, which ends an iteration of HDF5, if there are more than the file can hold.
        """
        self.left -= 1
        if self.left >= 0 and time.monotonic() - self.said > BEAT_SECONDS:
            print(flush=True)
            self.said = time.monotonic()
            limit_time(self.seconds)
        return True if self.left < 0 else None

    def end(self) -> None:
        """Raise an EndlessError if more objects were counted than the file can hold."""
        if self.left < 0:
            raise EndlessError


def check(path: str, seconds: int = 20) -> dict[str, object]:
    """Walk a file.

    Args:
        path: of an HDF5 file.
        seconds: of computing after which this process ends if the walk gets no further.

    Returns:
        The answer, see above.
    """
    try:
        progress = Progress(os.stat(path).st_size // LINK_BYTES, seconds)
        with h5py.File(path, "r") as file:
            walk_attributes(file.id, progress)
            walk_group(file.id, progress, depth=2)
    except EndlessError:
        return {"errno": None, "message": "its list of names has no end"}
    except MemoryError:
        return {"errno": None, "message": "an object claims more than 4 GB of memory"}
    except ERRORS as error:
        return {"errno": getattr(error, "errno", None), "message": str(error)}
    return {}


def walk_group(group: h5py.h5g.GroupID, progress: Progress, depth: int) -> None:
    """Walk what the links of a group lead to, down to `depth` levels."""
    names: list[bytes] = []

    def found(name: bytes) -> bool | None:
        names.append(name)
        return progress.step()

    with suppress(*ERRORS):
        group.links.iterate(found)
    for name in names:
        progress.end()
        progress.step()
        with suppress(*ERRORS):
            group.links.exists(name)
            if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
                continue
            node = h5py.h5o.open(group, name)
            walk_attributes(node, progress)
            if isinstance(node, h5py.h5d.DatasetID):
                walk_dataset(node, progress)
            elif isinstance(node, h5py.h5g.GroupID) and depth > 1:
                walk_group(node, progress, depth - 1)
    with suppress(*ERRORS):
        group.links.exists(b"no such name")


def walk_attributes(node: h5py.h5g.GroupID | h5py.h5d.DatasetID, progress: Progress) -> None:
    """Open all attributes of an object, and read those whose values lie elsewhere in the file."""
    names: list[bytes] = []

    def found(name: bytes, *_: object) -> bool | None:
        names.append(name)
        return progress.step()

    with suppress(*ERRORS):
        h5py.h5a.iterate(node, found)
    progress.end()
    for name in names:
        with suppress(*ERRORS):
            attribute = h5py.h5a.open(node, name)
            kind = attribute.get_type()
            apart = kind.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT)
            if apart and (kind.get_class() != h5py.h5t.STRING or kind.is_variable_str()):
                attribute.read(np.empty(attribute.shape, attribute.dtype))


def walk_dataset(dataset: h5py.h5d.DatasetID, progress: Progress) -> None:
    """Look up all that a dataset says of its rows; read one row if that goes through filters."""
    _ = dataset.shape, dataset.dtype, dataset.get_storage_size()
    settings = dataset.get_create_plist()
    if settings.get_external_count() or settings.get_layout() != h5py.h5d.CHUNKED:
        return
    dataset.get_num_chunks()
    if hasattr(dataset, "chunk_iter"):  # of HDF5 since 1.12.3
        dataset.chunk_iter(progress.step)
        progress.end()
    h5py.Dataset(dataset)[:1]


def limit_memory() -> None:
    """Have the system refuse the absurd amounts of memory that damaged sizes ask for."""
    if sys.platform == "linux":  # macOS takes no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_time(seconds: int) -> None:
    """Have the system end this process after so many more seconds of computing.

    Waiting for a slow disk does not count, nor for a turn on a busy machine.
    """
    if resource is not None:
        used = time.process_time()
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used) + seconds, hard))


if __name__ == "__main__":
    limit_memory()
    for line in sys.stdin:
        print(json.dumps(check(json.loads(line), int(sys.argv[1]))), flush=True)
