"""Value and output; the value keeps an input basis, the output an output basis."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from compressors.joint.problem import Problem, split, turn
from harness.algebra.joint_vo import joint_value_output, value_basis
from harness.algebra.lowrank import Fit, Product, best_product
from harness.plugin import CompressedLinear, Role


def value_output(problem: Problem) -> dict[Role, CompressedLinear]:
    """Both factors (see ``harness.algebra.joint_vo``)."""
    layers, geometry, config = problem.block.layers, problem.block.attention, problem.config
    read, reader = problem.seen("value"), problem.seen("output")
    Wo = layers["output"].weight.double()
    V = split(read.preconditioner.whiten(layers["value"].weight.double()), geometry.kv_heads)
    O = Wo.unflatten(1, (geometry.heads, -1)).transpose(0, 1)  # noqa: E741
    value_rank, in_heads = problem.head_rank("value", free_basis=True)
    ranks = value_rank, problem.rank("output")
    if config.vo_statistics == "output":
        product = best_product(Wo, reader.preconditioner, ranks[1])
        basis = value_basis(product.B.T @ O, V, ranks[0])
    else:
        unabsorbed = torch.zeros_like(V[..., 0])
        if not problem.centred("output"):
            left_out = problem.left_out("value", read, problem.centred("value"))
            unabsorbed = split(left_out, geometry.kv_heads)
        basis, Bo, _ = joint_value_output(O, V, unabsorbed, ranks, config.iterations)
        product = Product(Bo, Bo.T @ Wo)
    value = problem.projected("value", basis, read)
    output = problem.fit("output", product, reader)
    if not in_heads:
        return {"value": problem.joined(value), "output": problem.joined(output)}

    def turned(by: Tensor) -> Fit:
        return replace(output, product=Product(product.B, turn(by, product.A.T).T))

    value_factor, output_factor = problem.joined_in_heads(value, output, turned)
    return {"value": value_factor, "output": output_factor}
