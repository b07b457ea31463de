"""LatentLLM: query with key, value with output, up with down compressed jointly.

Each pair that is not joint is compressed locally with the root covariance.
Source: the paper's section on joint tensor compression and its appendix.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from transformers.activations import ACT2FN

from compressors import asvd_rootcov
from compressors.local import DampedConfig, updated_bias, updates_bias
from harness.algebra.joint_qk import HeadMaps, joint_query_key
from harness.algebra.joint_ud import Regression, joint_relu, regress
from harness.algebra.joint_vo import joint_value_output, value_basis
from harness.algebra.junction import join
from harness.algebra.lowrank import Product, best_product
from harness.algebra.preconditioners import Preconditioner, root_covariance
from harness.algebra.ranks import Junction, has_identity, rank_for
from harness.algebra.rotary import Window
from harness.algebra.spectral import inverse_root
from harness.block import BlockWeights, LinearWeights
from harness.compressor import BlockStatistics
from harness.factors import Factor
from harness.roles import Role

Pair = Literal["qk", "vo", "ud"]
JOINT_ROLES: dict[Pair, tuple[Role, ...]] = {
    "qk": ("query", "key"),
    "vo": ("value", "output"),
    "ud": ("down",),
}
"""Layers each joint problem solves for; UD starts from the local gate and up."""


@dataclass(frozen=True, kw_only=True)
class Config(DampedConfig):
    """Options of ``latentllm``.

    Attributes:
        joint: which pairs are compressed jointly.
        iterations: rounds of each alternating optimisation after the first.
        rope_window: relative offsets in tokens that rotary query and key are averaged over;
            1 ignores the rotation, "all" is the limit of an infinite window.
        vo_statistics: value and output jointly from the block's input alone, or the output
            projection from what it really reads.
    """

    junction: Junction = "block-identity"
    joint: tuple[Pair, ...] = ("qk", "vo", "ud")
    iterations: int = 4
    rope_window: Window = 10
    vo_statistics: Literal["input", "output"] = "output"


@dataclass(frozen=True)
class LatentLLM:
    """The paper's method."""

    summary: str = "LatentLLM: joint compression of QK, VO and UD"
    config: type[Config] = Config

    def needs_mlp_tokens(self, config: Config) -> bool:
        """The joint MLP fit reads sampled tokens."""
        return "ud" in config.joint

    def compress(
        self, block: BlockWeights, statistics: BlockStatistics, keep: float, config: Config
    ) -> Mapping[Role, Factor]:
        """Compress one block (see ``Compressor.compress``)."""
        if keep == 1 and not has_identity(config.junction):
            return asvd_rootcov.plugin.compress(block, statistics, keep, config)
        jointly = {role for pair in config.joint for role in JOINT_ROLES[pair]}
        alone = {role: layer for role, layer in block.layers.items() if role not in jointly}
        factors = dict(
            asvd_rootcov.plugin.compress(replace(block, layers=alone), statistics, keep, config)
        )
        job = _Job(block, statistics, keep, config)
        if "qk" in config.joint:
            factors |= job.query_key()
        if "vo" in config.joint:
            factors |= job.value_output()
        if "ud" in config.joint:
            factors |= job.up_down(factors)
        return factors


plugin = LatentLLM()


@dataclass(frozen=True)
class _Job:
    """One block's joint problems."""

    block: BlockWeights
    statistics: BlockStatistics
    keep: float
    config: Config

    def query_key(self) -> dict[Role, Factor]:
        """Joint query and key: ``A = A' P^-1``, ``B = W P A'^T``."""
        query, key = self.block.layers["query"], self.block.layers["key"]
        geometry = self.block.attention
        moments = self.statistics.moments["attention_input"]
        metric = self._metric("attention_input", self._centred(query))
        Wq, Wk = query.weight.double(), key.weight.double()
        means = torch.zeros(len(Wq)).to(Wq), torch.zeros(len(Wk)).to(Wk)
        if self._centred(query):
            means = _mean_output(query, moments.mean), _mean_output(key, moments.mean)
        scale_q, scale_k = _head_scales(self.block, self.statistics)
        bases = joint_query_key(
            HeadMaps(
                Q=_heads(metric.whiten(Wq), geometry.heads) * scale_q,
                K=_heads(metric.whiten(Wk), geometry.kv_heads) * scale_k,
                query_mean=_heads(means[0], geometry.heads) * scale_q[..., 0],
                key_mean=_heads(means[1], geometry.kv_heads) * scale_k[..., 0],
                frequencies=geometry.rotary,
                window=self.config.rope_window,
            ),
            rank_for(Wq.shape, self.keep, self.config.junction),
            rank_for(Wk.shape, self.keep, self.config.junction),
            self.config.iterations,
        )
        return {
            "query": self._projected(query, bases.query, metric),
            "key": self._projected(key, bases.key, metric),
        }

    def value_output(self) -> dict[Role, Factor]:
        """Joint value and output; the value keeps an input basis, the output an output basis."""
        value, output = self.block.layers["value"], self.block.layers["output"]
        geometry = self.block.attention
        metric = self._metric("attention_input", self._centred(value))
        read = self._metric("attention_output", self._centred(output))
        Wv, Wo = value.weight.double(), output.weight.double()
        V = _heads(metric.whiten(Wv), geometry.kv_heads)
        O = Wo.unflatten(1, (geometry.heads, -1)).transpose(0, 1)  # noqa: E741
        ranks = (
            rank_for(Wv.shape, self.keep, self.config.junction),
            rank_for(Wo.shape, self.keep, self.config.junction),
        )
        if self.config.vo_statistics == "output":
            product = best_product(Wo, read, ranks[1])
            basis = value_basis(product.B.T @ O, V, ranks[0])
        else:
            unabsorbed = torch.zeros_like(V[..., 0])
            if self._centred(value) and not self._centred(output):
                mean = self.statistics.moments["attention_input"].mean
                unabsorbed = _heads(_mean_output(value, mean), geometry.kv_heads)
            basis, Bo, _ = joint_value_output(O, V, unabsorbed, ranks, self.config.iterations)
            product = Product(Bo, Bo.T @ Wo)
        mean = self.statistics.moments["attention_output"].mean
        bias = updated_bias(output, Wo, product.dense(), mean, self.config.bias_update)
        return {
            "value": self._projected(value, basis, metric),
            "output": join(product, read, self.config.junction, bias),
        }

    def up_down(self, local: Mapping[Role, Factor]) -> dict[Role, Factor]:
        """Refit the down projection to the compressed inner activations; ReLU also moves up."""
        X = self.statistics.mlp_tokens
        assert X is not None
        up, down = self.block.layers["up"], self.block.layers["down"]
        activation = ACT2FN[self.block.activation]
        rank = rank_for(down.weight.shape, self.keep, self.config.junction)
        damping = self.config.damping

        def fit_down(targets: Tensor, inputs: Tensor) -> Regression:
            prior = down.weight.double()
            return regress(targets, inputs, prior, self._centred(down), damping, rank)

        def fit_up(targets: Tensor, inputs: Tensor) -> Regression:
            up_rank = rank_for(up.weight.shape, self.keep, self.config.junction)
            return regress(targets, inputs, up.weight.double(), self._centred(up), damping, up_rank)

        up_hat = _run(local["up"], X)
        fitted_up: Regression | None = None
        if "gate" in self.block.layers:
            gate = self.block.layers["gate"]
            inner = activation(_apply(gate, X)) * _apply(up, X)
            inner_hat = activation(_run(local["gate"], X)) * up_hat
            fitted_down = fit_down(inner @ down.weight.to(X).T, inner_hat)
        elif self.block.activation == "relu":
            b_u = torch.zeros(len(up.weight)).to(X) if up.bias is None else up.bias.to(X)
            fitted_up, fitted_down, _ = joint_relu(
                X,
                (up.weight.to(X), b_u),
                down.weight.to(X),
                up_hat,
                fit_up,
                fit_down,
                self.config.iterations,
            )
        else:
            inner, inner_hat = activation(_apply(up, X)), activation(up_hat)
            fitted_down = fit_down(inner @ down.weight.to(X).T, inner_hat)
        factors: dict[Role, Factor] = {"down": self._fitted(down, fitted_down)}
        if fitted_up is not None:
            factors["up"] = self._fitted(up, fitted_up)
        return factors

    def _centred(self, layer: LinearWeights) -> bool:
        return updates_bias(layer, self.config.bias_update)

    def _metric(
        self, site: Literal["attention_input", "attention_output"], centred: bool
    ) -> Preconditioner:
        moments = self.statistics.moments[site]
        C = moments.covariance() if centred else moments.second
        return root_covariance(C, self.config.damping)

    def _projected(self, layer: LinearWeights, basis: Tensor, metric: Preconditioner) -> Factor:
        """``W P A'^T`` times ``A' P^-1``, joined, with its bias."""
        W = layer.weight.double()
        product = Product(metric.whiten(W) @ basis.T, inverse_root(metric.root, basis))
        mean = self.statistics.moments["attention_input"].mean
        bias = updated_bias(layer, W, product.dense(), mean, self.config.bias_update)
        return join(product, metric, self.config.junction, bias)

    def _fitted(self, layer: LinearWeights, fit: Regression) -> Factor:
        bias = layer.bias
        if fit.bias is not None:
            bias = fit.bias if bias is None else bias.to(fit.bias) + fit.bias
        return join(fit.product, fit.preconditioner, self.config.junction, bias)


def _heads(rows: Tensor, heads: int) -> Tensor:
    """Split the first dimension ``heads * d_h`` into ``[heads, d_h, ...]``."""
    return rows.unflatten(0, (heads, -1))


def _mean_output(layer: LinearWeights, mean: Tensor) -> Tensor:
    """``W mu + b``, ``[d_out]`` in float64."""
    y = layer.weight.double() @ mean
    return y if layer.bias is None else y + layer.bias


def _apply(layer: LinearWeights, x: Tensor) -> Tensor:
    bias = None if layer.bias is None else layer.bias.to(x)
    return torch.nn.functional.linear(x, layer.weight.to(x), bias)


def _run(factor: Factor, x: Tensor) -> Tensor:
    y: Tensor = copy.deepcopy(factor).to(x.dtype)(x)
    return y


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
