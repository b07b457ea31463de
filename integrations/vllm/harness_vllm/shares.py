"""Which coordinates of a linear layer vLLM gives to this rank of tensor parallelism."""

from __future__ import annotations

from typing import Any

from vllm.model_executor.layers.linear import (
    LinearBase,
    QKVParallelLinear,
    ReplicatedLinear,
    RowParallelLinear,
)

from harness_vllm.coordinates import Coordinates


def input_share(layer: LinearBase) -> Coordinates:
    """Of its input."""
    size: int = layer.input_size
    if not isinstance(layer, RowParallelLinear):
        return Coordinates.span(0, size, size)
    return _equal(layer.tp_rank, layer.tp_size, size)


def output_share(layer: Any, index: int, stored: int, here: int) -> Coordinates:
    """Of the output of the ``index``-th matrix, ``here`` of ``stored`` coordinates."""
    if isinstance(layer, ReplicatedLinear | RowParallelLinear):
        return Coordinates.span(0, stored, stored)
    rank = layer.tp_rank
    if isinstance(layer, QKVParallelLinear) and index > 0:
        rank //= layer.num_kv_head_replicas
    return Coordinates.span(rank * here, (rank + 1) * here, stored)


def adds_bias(layer: LinearBase) -> bool:
    """Whether this rank does; of outputs that are summed over the ranks only the first one."""
    return not (isinstance(layer, RowParallelLinear) and layer.tp_rank > 0)


def _equal(rank: int, ranks: int, size: int) -> Coordinates:
    return Coordinates.span(rank * size // ranks, (rank + 1) * size // ranks, size)
