"""LatentLLM: query with key, value with output, up with down compressed jointly.

Each pair that is not joint is compressed locally with the root covariance.
Source: the paper's section on joint tensor compression and its appendix.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from transformers.activations import ACT2FN

from compressors import asvd_rootcov
from compressors.local import DampedConfig, local_forms, updated_bias, updates_bias
from harness.algebra.joint_qk import HeadMaps, joint_query_key
from harness.algebra.joint_ud import Regression, joint_relu, regress
from harness.algebra.joint_vo import joint_value_output, value_basis
from harness.algebra.junction import join, join_heads
from harness.algebra.lowrank import Product, best_product
from harness.algebra.preconditioners import Preconditioner, root_covariance
from harness.algebra.ranks import Junction, has_identity, rank_for
from harness.algebra.rotary import Window
from harness.algebra.spectral import inverse_root
from harness.block import BlockWeights, LinearWeights
from harness.compressor import BlockStatistics
from harness.factors import Factor, HeadIdentity
from harness.forms import Form
from harness.roles import Role

Pair = Literal["qk", "vo", "ud"]
JOINT_ROLES: dict[Pair, tuple[Role, ...]] = {
    "qk": ("query", "key"),
    "vo": ("value", "output"),
    "ud": ("down",),
}
"""Layers each joint problem solves for; UD starts from the local gate and up."""

DEFICIENT = 1e4
"""Condition number from which a head counts as of deficient rank."""


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
        head_junction: store an identity block in each value head too, and without rotary
            embedding in each key head (the paper's ``J_i``), and spend what that saves on rank.
            Only with the block-identity junction.
    """

    junction: Junction = "block-identity"
    joint: tuple[Pair, ...] = ("qk", "vo", "ud")
    iterations: int = 4
    rope_window: Window = 10
    vo_statistics: Literal["input", "output"] = "output"
    head_junction: bool = True


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

    def forms(self, block: BlockWeights, keep: float, config: Config) -> Mapping[Role, Form]:
        """What ``compress`` will return (see ``Foreseeable``).

        Weights with a head of deficient rank get a plain block identity instead of one per head.
        """
        forms = local_forms(block, keep, config)
        heads = block.attention.kv_heads
        read_by_head: dict[Pair, tuple[Role, bool]] = {
            "qk": ("key", _free_basis(block)),
            "vo": ("value", True),
        }
        for pair, (role, free_basis) in read_by_head.items():
            shape = block.layers[role].weight.shape
            rank = _rank_in_heads(shape, heads, keep, config) if free_basis else None
            if pair in config.joint and rank is not None:
                forms[role] = replace(forms[role], form=HeadIdentity.form, rank=rank, heads=heads)
        return forms


plugin = LatentLLM()


@dataclass(frozen=True)
class _Projected:
    """A compressed layer before it is put into a form."""

    product: Product
    bias: Tensor | None

    def equivalent(self) -> LinearWeights:
        return LinearWeights(self.product.dense(), self.bias)


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
        # What the whitened inputs leave out of a head: its mean, or its bias if not centred.
        origin = moments.mean if self._centred(query) else torch.zeros_like(moments.mean)
        means = _mean_output(query, origin), _mean_output(key, origin)
        scale_q, scale_k = _head_scales(self.block, self.statistics)
        free_basis = _free_basis(self.block)
        key_rank, in_heads = self._head_rank(key, geometry.kv_heads, free_basis)
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
            key_rank,
            self.config.iterations,
        )
        projected_query = self._projected(query, bases.query, metric)
        projected_key = self._projected(key, bases.key, metric)
        if not in_heads:
            return {
                "query": self._joined(projected_query, metric),
                "key": self._joined(projected_key, metric),
            }
        key_factor, basis = self._joined_in_heads(projected_key, geometry.kv_heads)
        turn = basis.repeat_interleave(geometry.group, 0).mT
        turned = _Projected(
            Product(_turn(turn, projected_query.product.B), projected_query.product.A),
            None if projected_query.bias is None else _turn(turn, projected_query.bias),
        )
        query_factor = self._joined(turned, metric)
        query_factor.equivalent = projected_query.equivalent()
        return {"query": query_factor, "key": key_factor}

    def value_output(self) -> dict[Role, Factor]:
        """Joint value and output; the value keeps an input basis, the output an output basis."""
        value, output = self.block.layers["value"], self.block.layers["output"]
        geometry = self.block.attention
        metric = self._metric("attention_input", self._centred(value))
        read = self._metric("attention_output", self._centred(output))
        Wv, Wo = value.weight.double(), output.weight.double()
        V = _heads(metric.whiten(Wv), geometry.kv_heads)
        O = Wo.unflatten(1, (geometry.heads, -1)).transpose(0, 1)  # noqa: E741
        value_rank, in_heads = self._head_rank(value, geometry.kv_heads, True)
        ranks = value_rank, rank_for(Wo.shape, self.keep, self.config.junction)
        if self.config.vo_statistics == "output":
            product = best_product(Wo, read, ranks[1])
            basis = value_basis(product.B.T @ O, V, ranks[0])
        else:
            unabsorbed = torch.zeros_like(V[..., 0])
            if not self._centred(output):
                mean = self.statistics.moments["attention_input"].mean
                origin = mean if self._centred(value) else torch.zeros_like(mean)
                unabsorbed = _heads(_mean_output(value, origin), geometry.kv_heads)
            basis, Bo, _ = joint_value_output(O, V, unabsorbed, ranks, self.config.iterations)
            product = Product(Bo, Bo.T @ Wo)
        mean = self.statistics.moments["attention_output"].mean
        bias = updated_bias(output, Wo, product.dense(), mean, self.config.bias_update)
        projected_value, projected_output = (
            self._projected(value, basis, metric),
            _Projected(product, bias),
        )
        if not in_heads:
            return {
                "value": self._joined(projected_value, metric),
                "output": self._joined(projected_output, read),
            }
        value_factor, turn = self._joined_in_heads(projected_value, geometry.kv_heads)
        turn = turn.repeat_interleave(geometry.group, 0).mT
        output_factor = self._joined(
            _Projected(Product(product.B, _turn(turn, product.A.T).T), bias), read
        )
        output_factor.equivalent = projected_output.equivalent()
        return {"value": value_factor, "output": output_factor}

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

    def _head_rank(self, layer: LinearWeights, heads: int, free_basis: bool) -> tuple[int, bool]:
        """Rank of a layer read head by head, and whether each head gets an identity block.

        A head of deficient rank has no basis its bias could be written in.
        """
        rank = _rank_in_heads(layer.weight.shape, heads, self.keep, self.config)
        if free_basis and rank is not None:
            spread = torch.linalg.cond(_heads(layer.weight.double(), heads))
            if bool((spread < DEFICIENT).all()):
                return rank, True
        return rank_for(layer.weight.shape, self.keep, self.config.junction), False

    def _projected(self, layer: LinearWeights, basis: Tensor, metric: Preconditioner) -> _Projected:
        """``W P A'^T`` times ``A' P^-1``, and the bias that goes with it."""
        W = layer.weight.double()
        product = Product(metric.whiten(W) @ basis.T, inverse_root(metric.root, basis))
        mean = self.statistics.moments["attention_input"].mean
        bias = updated_bias(layer, W, product.dense(), mean, self.config.bias_update)
        return _Projected(product, bias)

    def _joined(self, projected: _Projected, metric: Preconditioner) -> Factor:
        return join(projected.product, metric, self.config.junction, projected.bias)

    def _joined_in_heads(self, projected: _Projected, heads: int) -> tuple[Factor, Tensor]:
        factor, basis = join_heads(projected.product, heads, projected.bias)
        factor.equivalent = projected.equivalent()
        return factor, basis

    def _fitted(self, layer: LinearWeights, fit: Regression) -> Factor:
        bias = layer.bias
        if fit.bias is not None:
            bias = fit.bias if bias is None else bias.to(fit.bias) + fit.bias
        return join(fit.product, fit.preconditioner, self.config.junction, bias)


def _free_basis(block: BlockWeights) -> bool:
    """Whether each key head may change its basis: nothing but the query reads it."""
    return block.attention.rotary is None and block.attention.key_norm is None


def _rank_in_heads(shape: Sequence[int], heads: int, keep: float, config: Config) -> int | None:
    """Rank of a layer with an identity block in each head too, None if it cannot have them."""
    if not config.head_junction or config.junction != "block-identity":
        return None
    size = shape[0] // heads
    rank = rank_for(shape, keep, config.junction, heads * size * size)
    return rank if rank >= size else None


def _heads(rows: Tensor, heads: int) -> Tensor:
    """Split the first dimension ``heads * d_h`` into ``[heads, d_h, ...]``."""
    return rows.unflatten(0, (heads, -1))


def _turn(turn: Tensor, rows: Tensor) -> Tensor:
    """Apply ``turn: [h, d_h, d_h]`` to each head of ``rows: [h d_h, ...]``."""
    heads = rows.to(turn).reshape(len(turn), turn.shape[-1], -1)
    return (turn @ heads).reshape(rows.shape)


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
