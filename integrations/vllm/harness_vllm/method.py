"""How vLLM makes, fills and runs a linear layer whose parts are in factor form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from vllm.model_executor.layers.linear import LinearMethodBase

from harness_vllm.layout import StoredLayer
from harness_vllm.neurons import behind, exchange
from harness_vllm.part import Part
from harness_vllm.shares import adds_bias, input_share, output_share

SHARDS = {"q": 0, "k": 1, "v": 2}
"""How vLLM calls the parts of a merged projection of an attention; others have numbers."""


class FactorMethod(LinearMethodBase):
    """Runs each part and joins their outputs.

    ``made`` are all layers of the model whose parts are collected, by their names.
    """

    def __init__(
        self, stored: Mapping[str, StoredLayer | None], made: dict[str, nn.Module]
    ) -> None:
        self.stored = stored
        self.made = made

    def create_weights(
        self,
        layer: nn.Module,
        input_size_per_partition: int,  # noqa: ARG002
        output_partition_sizes: list[int],
        input_size: int,
        output_size: int,  # noqa: ARG002
        params_dtype: torch.dtype,
        **extra_weight_attrs: Any,  # noqa: ARG002
    ) -> None:
        """Make nothing yet: sizes are those of what will be loaded."""
        inputs = input_share(layer)
        parts: dict[str, Part] = {}
        for index, (name, stored) in enumerate(self.stored.items()):
            here = output_partition_sizes[index]
            whole = stored.d_out if stored else _size(layer, index)
            described = stored or StoredLayer(
                "dense", input_size, whole, min(input_size, whole), bool(layer.has_bias)
            )
            parts[name] = Part(
                f"{layer.prefix}.{name}",
                described,
                inputs,
                output_share(layer, index, whole, here),
                params_dtype,
                adds_bias=adds_bias(layer),
            )
        layer.incoming = parts
        self.made[layer.prefix] = layer
        layer.load_weights = lambda weights: _load(layer, weights)

    def process_weights_after_loading(self, layer: nn.Module) -> None:
        """Make what runs of what has arrived."""
        reader = self.made.get(behind(layer.prefix) or "")
        if reader is not None:
            exchange(layer.incoming.values(), *reader.incoming.values())
        layer.parts = nn.ModuleList(part.finished() for part in layer.incoming.values())
        layer.bias = None
        del layer.incoming, layer.load_weights, self.made[layer.prefix]

    def apply(self, layer: nn.Module, x: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Map ``x: [..., d_in]`` to the parts' outputs side by side; biases are theirs."""
        rows = x.reshape(-1, x.shape[-1])
        outputs = [part(rows) for part in layer.parts]
        y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
        return y.view(*x.shape[:-1], -1)


def _size(layer: Any, index: int) -> int:
    """Rows of the dense matrix ``index`` that ``layer`` merges, as stored."""
    if hasattr(layer, "total_num_heads"):
        heads = layer.total_num_heads if index == 0 else layer.total_num_kv_heads
        return heads * (layer.v_head_size if index == 2 else layer.head_size)
    return layer.output_sizes[index] if hasattr(layer, "output_sizes") else layer.output_size


def _load(layer: Any, weights: Iterable[tuple[str, Tensor]]) -> Iterator[str]:
    """Give each tensor to the part that it belongs to."""
    parts: dict[str, Part] = layer.incoming
    for name, tensor in weights:
        part, _, rest = name.rpartition(".")
        shard = getattr(tensor, "shard_id", None)
        if part:
            target = parts[part]
        elif shard is not None:
            target = list(parts.values())[SHARDS.get(shard, shard)]
        else:
            (target,) = parts.values()
        target.put(rest, tensor)
        yield name
