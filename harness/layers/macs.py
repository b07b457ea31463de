"""How much work a token is for the linear layers of a language model."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from harness.layers.factors import CompressedLinear


def macs_per_token(model: PreTrainedModel) -> int:
    """Multiply-accumulates that one token costs in the linear layers of the decoder.

    Counted from the modules as they run, factors included: attention and MLP projections and the
    output head. Not counted: attention between tokens, which grows with the context; embeddings,
    norms and activations; a vision tower and its projector, which see patches, not tokens.
    """
    parts = (model.get_decoder(), model.get_output_embeddings())
    return sum(_macs(module) for part in parts if part for module in part.modules())


def _macs(module: nn.Module) -> int:
    if isinstance(module, CompressedLinear):
        return module.weight_parameters()
    return module.weight.numel() if isinstance(module, nn.Linear) else 0
