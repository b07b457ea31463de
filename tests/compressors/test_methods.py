"""What every method promises, whatever the architecture: budgets, exactness, biases, repeats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harness.compression.compressor import Compressor, compressors
from harness.errors import NonFiniteError, UsageError
from harness.layers.factors import (
    CompressedLinear,
    HeadIdentity,
    InputIdentity,
    LowRank,
    OutputIdentity,
)
from harness.layers.roles import SITE_OF_ROLE, Role
from harness.layers.weights import LinearWeights
from tests.helpers.blocks import (
    SHAPES,
    Sample,
    activate,
    apply,
    claimed,
    inner_activations,
    moments_of,
    sample,
)
from tests.helpers.oracles import array, damped, squared, symmetric_root, tail, truncated

LOCAL = ["svd", "asvd-hessian", "asvd-l1", "asvd-l2", "asvd-cov", "asvd-rootcov"]
METHODS = [*LOCAL, "latentllm"]
JUNCTIONS = ["left", "right", "symmetric", "block-identity", "block-identity-output"]
POLICIES = ["auto", "always", "never"]
KEEPS = [0.95, 0.7, 0.4]
SUBJECTS = {name: sample(name) for name in SHAPES}


def run(method: str, subject: Sample, keep: float, **options: Any) -> dict[Role, CompressedLinear]:
    compressor: Compressor = compressors.get(method)
    config = compressor.config(**options)
    return dict(compressor.compress(subject.block, subject.statistics, keep, config))


@pytest.mark.parametrize("junction", JUNCTIONS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SHAPES)
def test_every_layer_is_within_its_budget(name: str, method: str, junction: str) -> None:
    subject = SUBJECTS[name]
    for keep in KEEPS:
        factors = run(method, subject, keep, junction=junction)
        assert set(factors) == set(subject.block.layers)
        for role, factor in factors.items():
            d_out, d_in = subject.block.layers[role].weight.shape
            stored = sum(p.numel() for n, p in factor.named_parameters() if n != "bias")
            assert stored <= keep * d_out * d_in
            assert factor.dense().shape == (d_out, d_in)
            rank = np.linalg.matrix_rank(array(factor.dense()), tol=1e-9)
            assert rank == factor.rank
            more = factor.rank + 1
            saved = more**2 if "identity" in junction else 0
            if isinstance(factor, HeadIdentity):
                saved += d_out * subject.block.attention.head_size
            assert more * (d_out + d_in) - saved > keep * d_out * d_in or more > min(d_out, d_in)


@pytest.mark.parametrize("junction", JUNCTIONS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("method", LOCAL)
@pytest.mark.parametrize("name", ["opt", "llama"])
def test_local_methods_remove_nothing_exactly(
    name: str, method: str, policy: str, junction: str
) -> None:
    subject = SUBJECTS[name]
    assert_exact(subject, run(method, subject, 1, junction=junction, bias_update=policy))


SUBSETS = [(), ("qk",), ("vo",), ("ud",), ("qk", "vo"), ("qk", "ud"), ("vo", "ud")]


@pytest.mark.parametrize("junction", JUNCTIONS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", SHAPES)
def test_latentllm_removes_nothing_exactly(name: str, policy: str, junction: str) -> None:
    subject = SUBJECTS[name]
    for joint in [*SUBSETS, ("qk", "vo", "ud")]:
        for vo_statistics in ["input", "output"] if "vo" in joint else ["output"]:
            for rope_window in [1, 10, "all"] if "qk" in joint else [10]:
                factors = run(
                    "latentllm",
                    subject,
                    1,
                    junction=junction,
                    bias_update=policy,
                    joint=joint,
                    vo_statistics=vo_statistics,
                    rope_window=rope_window,
                    iterations=1,
                )
                assert_exact(subject, factors)


def assert_exact(subject: Sample, factors: dict[Role, CompressedLinear]) -> None:
    for role, layer in subject.block.layers.items():
        found = claimed(factors[role])
        np.testing.assert_allclose(array(found.weight), array(layer.weight), rtol=0, atol=1e-9)
        b = np.zeros(len(found.weight)) if layer.bias is None else array(layer.bias)
        bias = found.bias
        np.testing.assert_allclose(np.zeros_like(b) if bias is None else array(bias), b, atol=1e-8)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("method", METHODS)
def test_methods_are_deterministic_and_leave_their_inputs_alone(method: str, name: str) -> None:
    subject = sample(name)
    first, second = (run(method, subject, 0.6) for _ in range(2))
    for role, factor in first.items():
        for left, right in zip(
            factor.state_dict().values(), second[role].state_dict().values(), strict=True
        ):
            assert torch.equal(left, right)
    fresh = sample(name)
    for role, layer in subject.block.layers.items():
        assert torch.equal(layer.weight, fresh.block.layers[role].weight)
    for site, moments in subject.statistics.moments.items():
        assert torch.equal(moments.second, fresh.statistics.moments[site].second)
    assert subject.statistics.mlp_tokens is not None
    assert fresh.statistics.mlp_tokens is not None
    assert torch.equal(subject.statistics.mlp_tokens, fresh.statistics.mlp_tokens)


# Biases ------------------------------------------------------------------------------------------

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "latentllm": [
        {"vo_statistics": "input"},
        {"vo_statistics": "output"},
        {"joint": ()},
        {"junction": "symmetric"},
    ],
}
CASES = [(method, options) for method in METHODS for options in OPTIONS.get(method, [{}])]


@pytest.mark.parametrize(("method", "options"), CASES)
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("policy", ["auto", "always"])
def test_updated_biases_preserve_the_mean_output(
    policy: str, name: str, method: str, options: dict[str, Any]
) -> None:
    subject = SUBJECTS[name]
    factors = run(method, subject, 0.5, bias_update=policy, **options)
    refitted = {"up", "down"} if method == "latentllm" and "joint" not in options else set()
    for role, factor in factors.items():
        layer = subject.block.layers[role]
        if policy == "auto" and layer.bias is None:
            assert factor.bias is None
            continue
        assert factor.bias is not None
        if role in refitted:
            continue
        X = subject.tokens[SITE_OF_ROLE[role]]
        np.testing.assert_allclose(
            apply(claimed(factor), X).mean(0), apply(layer, X).mean(0), atol=1e-9
        )


@pytest.mark.parametrize("name", SHAPES)
def test_the_refitted_mlp_preserves_its_mean_output(name: str) -> None:
    subject = SUBJECTS[name]
    factors = run("latentllm", subject, 0.5, bias_update="always")
    found, wanted = mlp_outputs(subject, factors)
    np.testing.assert_allclose(found.mean(0), wanted.mean(0), atol=1e-9)


@pytest.mark.parametrize(("method", "options"), CASES)
@pytest.mark.parametrize("name", SHAPES)
def test_never_keeps_biases_as_they_are(name: str, method: str, options: dict[str, Any]) -> None:
    subject = SUBJECTS[name]
    for role, factor in run(method, subject, 0.5, bias_update="never", **options).items():
        bias, kept = subject.block.layers[role].bias, claimed(factor).bias
        if bias is None:
            assert factor.bias is None
        else:
            assert factor.bias is not None
            assert kept is not None
            assert torch.equal(kept.detach(), bias)


# Local methods -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["opt", "llama"])
@pytest.mark.parametrize("policy", POLICIES)
def test_rootcov_has_the_least_possible_error_on_the_tokens(name: str, policy: str) -> None:
    """Mean squared error on explicit tokens, biases included; without damping."""
    subject = SUBJECTS[name]
    factors = run("asvd-rootcov", subject, 0.5, damping=0, bias_update=policy)
    for role, factor in factors.items():
        layer = subject.block.layers[role]
        X = subject.tokens[SITE_OF_ROLE[role]]
        error = squared(array(factor(torch.from_numpy(X))) - apply(layer, X))
        centred = policy == "always" or (policy == "auto" and layer.bias is not None)
        read = X - X.mean(0) if centred else X
        assert error == pytest.approx(tail(read @ array(layer.weight).T, factor.rank), rel=1e-8)


@pytest.mark.parametrize("junction", JUNCTIONS)
@pytest.mark.parametrize("method", LOCAL)
def test_local_methods_are_svd_under_their_preconditioner(method: str, junction: str) -> None:
    """Uncentred, because no layer of this block has a bias."""
    subject = SUBJECTS["llama"]
    for role, factor in run(method, subject, 0.6, junction=junction).items():
        X = subject.tokens[SITE_OF_ROLE[role]]
        C = X.T @ X / len(X)
        P = {
            "svd": np.eye(len(C)),
            "asvd-hessian": np.diag(np.diag(np.linalg.inv(damped(C, 0.01))) ** -0.5),
            "asvd-l1": np.diag(np.abs(X).mean(0) ** 0.5),
            "asvd-l2": np.diag(np.sqrt((X**2).mean(0))),
            "asvd-cov": damped(C, 0.01),
            "asvd-rootcov": symmetric_root(damped(C, 0.01)),
        }[method]
        W = array(subject.block.layers[role].weight)
        wanted = truncated(W @ P, factor.rank) @ np.linalg.inv(P)
        np.testing.assert_allclose(array(factor.dense()), wanted, atol=1e-7 * np.abs(W).max())


def test_junctions_choose_the_stored_form() -> None:
    forms = {"block-identity": InputIdentity, "block-identity-output": OutputIdentity}
    for method in METHODS:
        for junction in JUNCTIONS:
            for factor in run(method, SUBJECTS["opt"], 0.5, junction=junction).values():
                form = HeadIdentity if isinstance(factor, HeadIdentity) else forms.get(junction)
                assert isinstance(factor, form or LowRank)
                assert junction == "block-identity" or not isinstance(factor, HeadIdentity)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", METHODS)
def test_low_precision_weights_are_worked_on_in_double(method: str, dtype: torch.dtype) -> None:
    subject = SUBJECTS["opt"]
    lowered = {
        role: LinearWeights(
            layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype)
        )
        for role, layer in subject.block.layers.items()
    }
    raised = {
        role: LinearWeights(
            layer.weight.double(), None if layer.bias is None else layer.bias.double()
        )
        for role, layer in lowered.items()
    }
    factors, wanted = (
        run(method, replace(subject, block=replace(subject.block, layers=layers)), 0.6)
        for layers in (lowered, raised)
    )
    for role, factor in factors.items():
        assert torch.equal(factor.dense(), wanted[role].dense())
        assert factor.dense().dtype == torch.float64


# Failures and degenerate data --------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_ratio_that_leaves_no_rank_is_refused(method: str) -> None:
    with pytest.raises(UsageError, match="--ratio"):
        run(method, SUBJECTS["llama"], 0.01)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "svd"])
def test_poisoned_statistics_are_refused(method: str) -> None:
    subject = sample("llama")
    for moments in subject.statistics.moments.values():
        moments.second[0, 0] = float("nan")
        moments.magnitude[0] = float("nan")
    with pytest.raises(NonFiniteError):
        run(method, subject, 0.5)


SINGULAR_CASES = [
    ("svd", {}),
    ("asvd-l1", {}),
    ("asvd-l2", {}),
    *[(m, {"damping": d}) for m in ("asvd-cov", "asvd-rootcov", "latentllm") for d in (0.01, 0)],
]


@pytest.mark.parametrize("junction", JUNCTIONS)
@pytest.mark.parametrize(("method", "options"), SINGULAR_CASES)
@pytest.mark.parametrize("name", ["opt", "llama"])
def test_fewer_tokens_than_inputs_give_finite_moderate_factors(
    name: str, method: str, options: dict[str, Any], junction: str
) -> None:
    """Singular moments, with dead channels on top; also without damping."""
    subject = sample(name, tokens=5)
    assert subject.statistics.mlp_tokens is not None
    subject.statistics.mlp_tokens[:, 3] = 0
    for site, X in subject.tokens.items():
        X[:, 3] = 0
        subject.statistics.moments[site].second.copy_(torch.from_numpy(X.T @ X / 5))
        subject.statistics.moments[site].mean[3] = 0
        subject.statistics.moments[site].magnitude[3] = 0
    for role, factor in run(method, subject, 0.7, junction=junction, **options).items():
        for parameter in factor.parameters():
            assert bool(torch.isfinite(parameter.half()).all()), role
        if role != "down":
            W = subject.block.layers[role].weight
            assert float(factor.dense().norm()) < 20 * float(W.norm()), role


@pytest.mark.parametrize("method", METHODS)
def test_a_block_that_reads_only_zeros_gives_finite_factors(method: str) -> None:
    subject = sample("opt")
    for site, X in subject.tokens.items():
        X[:] = 0
        nothing = moments_of(X)
        target = subject.statistics.moments[site]
        for field in ("second", "mean", "magnitude"):
            getattr(target, field).copy_(getattr(nothing, field))
    assert subject.statistics.mlp_tokens is not None
    subject.statistics.mlp_tokens.zero_()
    for factor in run(method, subject, 0.6).values():
        assert all(bool(torch.isfinite(p).all()) for p in factor.parameters())


def mlp_outputs(
    subject: Sample, factors: dict[Role, CompressedLinear]
) -> tuple[np.ndarray, np.ndarray]:
    """The MLP on its tokens, compressed and dense."""
    X = subject.tokens["mlp_input"]
    x = torch.from_numpy(X)
    name = subject.block.activation
    if "gate" in factors:
        inner = activate(name, array(factors["gate"](x))) * array(factors["up"](x))
    else:
        inner = activate(name, array(factors["up"](x)))
    found = array(factors["down"](torch.from_numpy(inner)))
    wanted = apply(subject.block.layers["down"], inner_activations(subject.block, X))
    return found, wanted


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("keep", KEEPS)
def test_the_refit_mlp_is_never_worse_on_its_tokens_than_the_local_one(
    name: str, policy: str, keep: float
) -> None:
    """Without damping the refit is the best down projection of its rank on these tokens."""
    subject = SUBJECTS[name]
    options: dict[str, Any] = {"damping": 0, "bias_update": policy, "junction": "block-identity"}
    refit, dense = mlp_outputs(subject, run("latentllm", subject, keep, joint=("ud",), **options))
    local, _ = mlp_outputs(subject, run("asvd-rootcov", subject, keep, **options))
    assert squared(refit - dense) <= squared(local - dense) * (1 + 1e-9)


def test_a_larger_budget_never_costs_accuracy() -> None:
    subject = SUBJECTS["opt"]
    X = subject.tokens["attention_input"]
    errors = []
    for keep in (0.3, 0.5, 0.7, 0.9, 1.0):
        factor = run("asvd-rootcov", subject, keep, junction="block-identity", damping=0)["query"]
        dense = apply(subject.block.layers["query"], X)
        errors.append(squared(array(factor(torch.from_numpy(X))) - dense))
    assert np.diff(errors).max() <= 1e-9
