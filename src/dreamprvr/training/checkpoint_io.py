"""How Lightning's checkpoints get to the disk."""

import io
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path
from dreamprvr.core.torch_file import read_torch_file


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, which it takes once it is complete.

    Lightning's own writes to the system's temporary folder. If that lies on another disk, it then
    copies over the earlier checkpoint, and a full disk leaves neither; and it says nothing where
    writing is not permitted.

    Args:
        weights_alone: read the weights and the settings, nothing of the training, which an
            evaluation does not need and which the model file of a library lacks.
    """

    def __init__(self, weights_alone: bool = False) -> None:
        super().__init__()
        self.weights_alone = weights_alone

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            UserError: there is no room or no permission; the file's earlier state is kept.
        """
        path = Path(path)
        content = io.BytesIO()  # torch's own file writer tells a full disk by a RuntimeError
        torch.save(checkpoint, content)
        try:
            with atomic_path(path) as partial:
                partial.write_bytes(content.getvalue())  # no view, which an error would keep
        except UserError as error:
            last = path.with_name("last.ckpt")
            after = f"resume with --ckpt_path {last}" if last.exists() else "start again"
            raise UserError(f"{error}, then {after}") from None

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint as data, whatever `map_location` and `weights_only` say.

        Raises:
            UserError: it cannot be read, is damaged, or holds other objects than tensors and
                builtins.
        """
        content: dict[str, Any] = read_torch_file(Path(path), mapped=False)
        if not self.weights_alone:
            return content
        found = {name: content[name] for name in ("state_dict", "hyper_parameters")}
        for name in ("epoch", "global_step"):
            found[name] = content[name] if isinstance(content.get(name), int) else 0
        return {**found, "callbacks": {}, "pytorch-lightning_version": lightning.__version__}
