"""The down projection refitted to the compressed inner activations; ReLU also moves up."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers.activations import ACT2FN

from compressors.joint.problem import Problem
from harness.algebra.joint_ud import joint_relu, regress
from harness.algebra.lowrank import Fit
from harness.plugin import CompressedLinear, LinearWeights, Role


def up_down(
    problem: Problem, local: Mapping[Role, CompressedLinear]
) -> dict[Role, CompressedLinear]:
    """Down, and up where it moved (see ``harness.algebra.joint_ud``).

    ``local`` are up and gate as they were compressed by themselves.
    """
    X, layers = problem.statistics.mlp_tokens, problem.block.layers
    assert X is not None
    up, down = layers["up"], layers["down"]
    activation = ACT2FN[problem.block.activation]

    def fit(role: Role, targets: Tensor, inputs: Tensor) -> Fit:
        prior, centred = layers[role].weight.double(), problem.centred(role)
        damping, rank = problem.config.damping, problem.rank(role)
        return regress(targets, inputs, prior, centred, damping, rank)

    def factor(role: Role, fitted: Fit) -> CompressedLinear:
        bias = layers[role].bias
        if fitted.bias is not None:
            bias = fitted.bias if bias is None else bias.to(fitted.bias) + fitted.bias
        return problem.joined(replace(fitted, bias=bias))

    up_hat = _run(local["up"], X)
    if "gate" not in layers and problem.block.activation == "relu":
        b_u = torch.zeros(len(up.weight)).to(X) if up.bias is None else up.bias.to(X)
        fitted_up, fitted_down, _ = joint_relu(
            X,
            (up.weight.to(X), b_u),
            down.weight.to(X),
            up_hat,
            lambda targets, inputs: fit("up", targets, inputs),
            lambda targets, inputs: fit("down", targets, inputs),
            problem.config.iterations,
        )
        moved: dict[Role, CompressedLinear] = {"up": factor("up", fitted_up)} if fitted_up else {}
        return {"down": factor("down", fitted_down), **moved}
    if "gate" in layers:
        inner = activation(_apply(layers["gate"], X)) * _apply(up, X)
        inner_hat = activation(_run(local["gate"], X)) * up_hat
    else:
        inner, inner_hat = activation(_apply(up, X)), activation(up_hat)
    return {"down": factor("down", fit("down", inner @ down.weight.to(X).T, inner_hat))}


def _apply(layer: LinearWeights, x: Tensor) -> Tensor:
    return linear(x, layer.weight.to(x), None if layer.bias is None else layer.bias.to(x))


def _run(factor: CompressedLinear, x: Tensor) -> Tensor:
    y: Tensor = copy.deepcopy(factor).to(x.dtype)(x)
    return y
