"""Parallel attention blocks, computed together (docs/model.md, section 5)."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.models.layers.attention import AttentionBlock, attend, fused_attend, key_bias
from dreamprvr.models.layers.basic import LayerNorm, at_least_float32


class ParallelBlocks(nn.ModuleList):
    """G attention blocks that share their input, each with a window of its own.

    The result is that of computing one block after the other. On an accelerator all blocks are
    computed together, in a few large operations. On the CPU they are computed in turn, which is
    as fast, keeps a block's scores near the cache and needs little memory.

    Args:
        blocks: the blocks, all of the same sizes.
    """

    def __init__(self, blocks: Sequence[AttentionBlock]) -> None:
        super().__init__(blocks)
        self.num_heads = blocks[0].attention.num_heads
        self.fused = False  # True to use FlexAttention, which is fast only once it is compiled

    def forward(
        self, tokens: Tensor, context: Tensor, mask: Tensor | None, windows: Tensor
    ) -> Tensor:
        """Compute all blocks.

        Args:
            tokens: tokens that give the queries, (B, L, D).
            context: tokens that give the keys and values, (B, K, D).
            mask: (B, K), 1 for a valid key and 0 for padding; None if all are valid.
            windows: factors of the scaled scores, (G, L, K).

        Returns:
            (G, B, L, D).
        """
        blocks: list[AttentionBlock] = list(self)  # type: ignore[arg-type]
        bias = key_bias(mask)
        at_once = blocks_at_once(tokens.device, len(blocks))
        outputs = []
        for first in range(0, len(blocks), at_once):
            part = slice(first, first + at_once)
            attentions = [block.attention for block in blocks[part]]
            q = _project(tokens, [attention.query for attention in attentions], self.num_heads)
            k = _project(context, [attention.key for attention in attentions], self.num_heads)
            v = _project(context, [attention.value for attention in attentions], self.num_heads)
            window = windows[part, None, None]
            attended = (fused_attend if self.fused else attend)(q, k, v, bias, window)
            outputs.append(_finish(tokens, attended, blocks[part]))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def blocks_at_once(device: torch.device, number: int) -> int:
    """Return how many of `number` blocks are computed together on a device."""
    return 1 if device.type == "cpu" else number


def _project(x: Tensor, layers: Sequence[nn.Linear], num_heads: int) -> Tensor:
    """Project tokens by G layers and split them into heads; (B, L, D) -> (G, B, H, L, d)."""
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return rearrange(
        F.linear(x, weight, bias), "b l (g h d) -> g b h l d", g=len(layers), h=num_heads
    )


def _finish(tokens: Tensor, attended: Tensor, blocks: Sequence[AttentionBlock]) -> Tensor:
    """Compute what follows the attention in G blocks; (G, B, L, D) -> (G, B, L, D)."""
    dropout, ffn = blocks[0].dropout, blocks[0].ffn
    x = grouped_norm(tokens + dropout(attended), [block.attention_norm for block in blocks])
    hidden = ffn.dropout.relu(grouped_linear(x, [block.ffn.expand for block in blocks]))
    out = grouped_linear(hidden, [block.ffn.contract for block in blocks])
    return grouped_norm(x + dropout(out), [block.ffn_norm for block in blocks])


def grouped_linear(x: Tensor, layers: Sequence[nn.Linear]) -> Tensor:
    """Apply layer g to x[g], as one batched matrix product.

    Args:
        x: (G, B, L, I).
        layers: G layers from I to O, with biases.

    Returns:
        (G, B, L, O).
    """
    if len(layers) == 1:
        return layers[0](x)
    weight = torch.stack([layer.weight for layer in layers])  # (G, O, I)
    bias = torch.stack([layer.bias for layer in layers])
    rows = rearrange(x, "g b l i -> g (b l) i")
    y = torch.baddbmm(bias[:, None], rows, rearrange(weight, "g o i -> g i o"))
    return rearrange(y, "g (b l) o -> g b l o", b=x.shape[1])


def grouped_norm(x: Tensor, norms: Sequence[LayerNorm]) -> Tensor:
    """Apply layer g to x[g], (G, B, L, D) -> (G, B, L, D), never in half precision."""
    if len(norms) == 1:
        return norms[0](x)
    weight = torch.stack([norm.weight for norm in norms])[:, None, None]  # (G, 1, 1, D)
    bias = torch.stack([norm.bias for norm in norms])[:, None, None]
    return torch.addcmul(
        bias, F.layer_norm(at_least_float32(x), x.shape[-1:], eps=norms[0].eps), weight
    )
