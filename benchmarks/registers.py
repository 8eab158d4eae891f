"""Measure how far the registers of a trained DreamPRVR differ, and what they tell of a query.

    python -m benchmarks.registers --ckpt_path FILE [--root data]

encodes the test split of the generated benchmark with a checkpoint of
`lightning fit --config synthetic.yaml`. It compares the registers of a video with each other and
with those of other videos, and the cosines of a caption with the registers of its own video and of
the other videos. A share of 50 % is that of chance.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measuring import table
from data_modules.synthetic import Synthetic
from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.gallery import Gallery
from dreamprvr.models.layers.basic import unit
from dreamprvr.search.encoding import REGISTERS
from dreamprvr.search.model import read_model


def alike(registers: Tensor) -> dict[str, float]:
    """Compare registers with each other.

    Args:
        registers: registers of V > 1 videos, of unit length, (V, R, D), R > 1.

    Returns:
        Mean cosine of two registers of one video, and that of registers of two videos.
    """
    videos, count, _ = registers.shape
    within = (registers @ registers.mT).sum() - videos * count
    flat = registers.flatten(0, 1)
    between = (flat @ flat.T).sum() - (registers @ registers.mT).sum()
    return {
        "cosine within a video": float(within / (videos * count * (count - 1))),
        "between videos": float(between / (videos * (videos - 1) * count**2)),
    }


def told(cosines: Tensor, scores: Tensor, true: Tensor) -> dict[str, float]:
    """Measure how well registers tell the right video from others, beside the model's score.

    Args:
        cosines: cosines of Q queries with the registers of V videos, (Q, V, R).
        scores: the model's scores, (Q, V).
        true: the right video of each query, (Q,).

    Returns:
        The mean difference of the largest and smallest cosine of a query with the registers of
        its video, and the share of wrong videos below the right one, in %: by the largest cosine,
        by the cosine with the mean register, and by the score.
    """
    row = torch.arange(len(true))
    own = cosines[row, true]
    ways = {
        "below, largest cosine %": cosines.max(dim=2).values,
        "below, mean %": cosines.mean(dim=2),
        "below, score %": scores,
    }
    shares = {}
    for name, values in ways.items():
        right = values[row, true][:, None]
        below = (values < right).double() + (values == right) / 2
        below[row, true] = 0
        shares[name] = float(100 * below.sum() / (below.numel() - len(true)))
    return {"spread of a query": float((own.max(dim=1)[0] - own.min(dim=1)[0]).mean()), **shares}


@torch.inference_mode()
def main(arguments: list[str] | None = None) -> None:
    """Encode the test split with a checkpoint, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registers", description=__doc__)
    parser.add_argument("--ckpt_path", type=Path, required=True)
    parser.add_argument("--root", type=Path, default=Path("data"))
    options = parser.parse_args(arguments)
    model = read_model(options.ckpt_path).network.eval()
    sizes = {name: getattr(model.config, name) for name in ("num_clips", "max_frames", "max_words")}
    data = Synthetic(root=options.root, num_workers=0, **sizes)
    data.prepare_data()
    videos, queries = data.test_dataloader()
    gallery, registers = Gallery(model), []
    for batch in videos:
        gallery.add(batch)
        extras = model.encode_videos(*batch[1:]).extras
        if REGISTERS not in extras:
            raise UserError(f"{options.ckpt_path} is of a model without registers")
        registers.append(unit(extras[REGISTERS]))
    all_registers = torch.cat(registers)
    cosines, scores, true = [], [], []
    for batch in queries:
        for block in gallery.blocks(batch):
            answer = gallery.ask(block)
            embeddings = unit(answer.queries.embedding)
            cosines.append(torch.einsum("qd, vrd -> qvr", embeddings, all_registers))
            scores.append(answer.score)
            true.append(block.positives[:, 0])
    found = told(torch.cat(cosines), torch.cat(scores), torch.cat(true))
    print(table([{"videos": len(all_registers), **alike(all_registers), **found}]))


if __name__ == "__main__":
    main()
