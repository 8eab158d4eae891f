"""Initial weights (model.md, section 8)."""

from torch import nn

STANDARD_DEVIATION = 0.02


def initialize(network: nn.Module) -> None:
    """Linear and Embedding N(0, 0.02), biases 0; the GRU Xavier, orthogonal, 0; LayerNorm 1, 0.

    The register query tokens keep their N(0, 1). The denoiser's frozen time table is an Embedding,
    so it is drawn too, as in the published code; `time_table: sinusoidal` sets it afterwards.
    """
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=STANDARD_DEVIATION)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.GRU):
            _initialize_gru(module)


def _initialize_gru(gru: nn.GRU) -> None:
    for name, parameter in gru.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(parameter)
        else:
            nn.init.zeros_(parameter)
