"""Factor modules run as the dense weight they stand for, on inputs of any rank."""

from __future__ import annotations

import pytest
import torch

from harness.algebra import preconditioners
from harness.algebra.lowrank import best_product
from harness.layers.factors import (
    CompressedLinear,
    DenseLinear,
    InputIdentity,
    OutputIdentity,
    stored_bytes,
)
from harness.layers.junction import join
from tests.helpers.oracles import gaussian, moment, tensor

FORMS = ["left", "right", "symmetric", "block-identity", "block-identity-output", "dense"]
D_OUT, D_IN, RANK = 7, 9, 3


def make(form: str, *, bias: bool, rank: int = RANK, shape: tuple[int, int] = (D_OUT, D_IN)):
    W = tensor(gaussian(1, *shape))
    b = tensor(gaussian(2, shape[0])) if bias else None
    if form == "dense":
        return DenseLinear(W, b)
    P = preconditioners.root_covariance(tensor(moment(3, shape[1])), 0.01)
    return join(best_product(W, P, rank), P, form, b)


def dense_run(factor: CompressedLinear, x: torch.Tensor) -> torch.Tensor:
    y = x @ factor.dense().T
    return y if factor.bias is None else y + factor.bias


@pytest.mark.parametrize("lead", [(), (4,), (2, 5), (2, 3, 4), (0,)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_forward_is_the_dense_map(form: str, bias: bool, lead: tuple[int, ...]) -> None:
    factor = make(form, bias=bias)
    x = tensor(gaussian(4, *lead, D_IN))
    y = factor(x)
    assert y.shape == (*lead, D_OUT)
    torch.testing.assert_close(y, dense_run(factor, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", FORMS[:-1])
@pytest.mark.parametrize("shape", [(5, 5), (4, 8), (8, 4)])
def test_forward_is_the_dense_map_at_full_rank(form: str, shape: tuple[int, int]) -> None:
    factor = make(form, bias=True, rank=min(shape), shape=shape)
    x = tensor(gaussian(5, 3, shape[1]))
    torch.testing.assert_close(factor(x), dense_run(factor, x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(factor.dense(), tensor(gaussian(1, *shape)), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_parameters_are_counted_from_the_stored_tensors(form: str) -> None:
    factor = make(form, bias=True)
    weights = [p for name, p in factor.named_parameters() if name != "bias"]
    assert factor.weight_parameters() == sum(p.numel() for p in weights)
    expected = {"dense": D_OUT * D_IN}.get(form, RANK * (D_OUT + D_IN))
    if "identity" in form:
        expected -= RANK**2
    assert factor.weight_parameters() == expected
    assert not any(p.requires_grad for p in factor.parameters())


@pytest.mark.parametrize("form", FORMS)
def test_bytes_count_weights_bias_and_the_permutation(form: str) -> None:
    factor = make(form, bias=True).to(torch.bfloat16)
    index = {"block-identity": D_IN, "block-identity-output": D_OUT}.get(form, 0)
    assert stored_bytes(factor) == 2 * (factor.weight_parameters() + D_OUT) + 4 * index


@pytest.mark.parametrize("form", FORMS)
def test_a_saved_state_restores_the_same_map(form: str) -> None:
    factor = make(form, bias=True)
    state = {name: value.clone() for name, value in factor.state_dict().items()}
    for value in factor.state_dict().values():
        value.zero_()
    factor.load_state_dict(state)
    x = tensor(gaussian(6, 3, D_IN))
    if isinstance(factor, OutputIdentity):
        fresh = OutputIdentity(factor.F, factor.T, factor.kept, factor.rest, factor.bias)
        torch.testing.assert_close(fresh(x), make(form, bias=True)(x))
    torch.testing.assert_close(factor(x), make(form, bias=True)(x))


@pytest.mark.parametrize("form", ["block-identity", "block-identity-output"])
def test_half_precision_keeps_the_permutation_whole(form: str) -> None:
    factor = make(form, bias=False).to(torch.float16)
    assert isinstance(factor, InputIdentity | OutputIdentity)
    assert factor.kept.dtype == torch.int32
    assert factor.dense().dtype == torch.float16
    reference = make(form, bias=False).dense()
    torch.testing.assert_close(factor.dense().double(), reference, rtol=0.02, atol=0.02)
