"""Compare a checkpoint's parameters with a model's, and say the difference in one line."""

from collections.abc import Mapping

from torch import Tensor

from dreamprvr.errors import UserError

LISTED = 5  # names of each kind that a message gives


def differences(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[str]:
    """What is missing from, extra in, or of another size in `theirs`; empty if nothing is."""
    resized = [
        f"{name} is {tuple(theirs[name].shape)}, not {tuple(ours[name].shape)}"
        for name in ours
        if name in theirs and ours[name].shape != theirs[name].shape
    ]
    kinds = {
        "missing": [name for name in ours if name not in theirs],
        "extra": [name for name in theirs if name not in ours],
        "of another size": resized,
    }
    return [
        f"{len(names)} {kind}: {', '.join(names[:LISTED])}{', ...' if names[LISTED:] else ''}"
        for kind, names in kinds.items()
        if names
    ]


def refuse_other_shapes(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    """Raise if the parameters differ in name or shape.

    Raises:
        UserError: names what differs.
    """
    found = differences(ours, theirs)
    if found:
        raise UserError(
            f"the checkpoint belongs to another configuration ({'; '.join(found)}); give the "
            "--config it was trained with, and data of the same feature sizes"
        )
