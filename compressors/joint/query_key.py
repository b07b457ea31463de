"""Query and key by their attention map: ``A = A' P^-1``, ``B = W P A'^T``."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from compressors.joint.problem import Problem, split, turn
from harness.algebra.joint_qk import HeadMaps, joint_query_key
from harness.algebra.lowrank import Fit, Product
from harness.plugin import BlockStatistics, BlockWeights, CompressedLinear, Role


def query_key(problem: Problem) -> dict[Role, CompressedLinear]:
    """Both factors (see ``harness.algebra.joint_qk``)."""
    block, config = problem.block, problem.config
    geometry = block.attention
    read, centred = problem.seen("query"), problem.centred("query")
    scale_q, scale_k = _head_scales(block, problem.statistics)
    key_rank, in_heads = problem.head_rank("key", free_basis(block))

    def heads(role: Role, count: int, scale: Tensor) -> tuple[Tensor, Tensor]:
        W = block.layers[role].weight.double()
        mean = split(problem.left_out(role, read, centred), count) * scale[..., 0]
        return split(read.preconditioner.whiten(W), count) * scale, mean

    Q, query_mean = heads("query", geometry.heads, scale_q)
    K, key_mean = heads("key", geometry.kv_heads, scale_k)
    maps = HeadMaps(Q, K, query_mean, key_mean, geometry.rotary, config.rope_window)
    bases = joint_query_key(maps, problem.rank("query"), key_rank, config.iterations)
    query = problem.projected("query", bases.query, read)
    key = problem.projected("key", bases.key, read)
    if not in_heads:
        return {"query": problem.joined(query), "key": problem.joined(key)}

    def turned(by: Tensor) -> Fit:
        product = Product(turn(by, query.product.B), query.product.A)
        bias = None if query.bias is None else turn(by, query.bias)
        return replace(query, product=product, bias=bias)

    key_factor, query_factor = problem.joined_in_heads(key, query, turned)
    return {"query": query_factor, "key": key_factor}


def free_basis(block: BlockWeights) -> bool:
    """Whether each key head may change its basis: nothing but the query reads it."""
    return block.attention.rotary is None and block.attention.key_norm is None


def _head_scales(block: BlockWeights, statistics: BlockStatistics) -> tuple[Tensor, Tensor]:
    """Weights of the head rows under qk-norm: norm weight times mean inverse norm.

    With qk-norm the map is not bilinear; each head then counts as much as its normalised
    features do. Ones without qk-norm. Shapes ``[heads, d_h, 1]``.
    """
    geometry = block.attention
    ones = torch.ones(1, 1, 1).to(block.layers["query"].weight).double()
    if geometry.query_norm is None or geometry.key_norm is None or not statistics.inverse_norms:
        return ones, ones
    query, key = statistics.inverse_norms
    return (
        query[:, None, None] * geometry.query_norm.double()[None, :, None],
        key[:, None, None] * geometry.key_norm.double()[None, :, None],
    )
