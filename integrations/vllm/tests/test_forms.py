"""A layer's share of outputs and of inputs against the dense matrix that it stands for."""

from __future__ import annotations

import pytest
import torch
from harness_vllm.coordinates import Coordinates
from harness_vllm.forms import FORMS
from harness_vllm.layout import StoredLayer
from harness_vllm.neurons import exchange
from harness_vllm.part import Part

D_IN, D_OUT, RANK, HEADS = 12, 8, 6, 2


def permutation(size, first):
    order = torch.randperm(size)
    return order[:first].int(), order[first:].int()


def stored(form):
    """Tensors of a layer with a bias, and the dense matrix that they stand for."""
    torch.manual_seed(0)
    bias = {"bias": torch.randn(D_OUT)}
    eye = torch.eye(RANK)
    if form == "dense":
        weight = torch.randn(D_OUT, D_IN)
        return {"weight": weight} | bias, weight
    if form == "plain":
        A, B = torch.randn(RANK, D_IN), torch.randn(D_OUT, RANK)
        return {"A": A, "B": B} | bias, B @ A
    if form == "block-identity-output":
        F, T = torch.randn(RANK, D_IN), torch.randn(D_OUT - RANK, RANK)
        kept, rest = permutation(D_OUT, RANK)
        dense = torch.empty(D_OUT, D_IN)
        dense[kept.long()], dense[rest.long()] = F, T @ F
        return {"F": F, "T": T, "kept": kept, "rest": rest} | bias, dense
    T = torch.randn(RANK, D_IN - RANK)
    kept, rest = permutation(D_IN, RANK)
    A = torch.empty(RANK, D_IN)
    A[:, kept.long()], A[:, rest.long()] = eye, T
    inner = {"T": T, "kept": kept, "rest": rest} | bias
    if form == "block-identity":
        F = torch.randn(D_OUT, RANK)
        return inner | {"F": F}, F @ A
    size = D_OUT // HEADS
    U = torch.randn(HEADS, size, RANK - size)
    columns = [permutation(RANK, size) for _ in range(HEADS)]
    heads = [
        eye[one.long()] + u @ eye[two.long()] for u, (one, two) in zip(U, columns, strict=True)
    ]
    names = {
        "head_kept": torch.stack([one for one, _ in columns]),
        "head_rest": torch.stack([two for _, two in columns]),
    }
    return inner | {"U": U} | names, torch.cat(heads) @ A


WHOLE = [form for form in FORMS if not form.startswith("kept")]
SPLIT = [form for form in WHOLE if form != "head-identity"]


@pytest.mark.parametrize("form", WHOLE)
def test_whole(form):
    tensors, dense = stored(form)
    x = torch.randn(5, D_IN)
    torch.testing.assert_close(FORMS[form](tensors)(x), x @ dense.T + tensors["bias"])


@pytest.mark.parametrize("form", WHOLE)
@pytest.mark.parametrize("rank", range(2))
def test_some_outputs(form, rank):
    tensors, dense = stored(form)
    x = torch.randn(5, D_IN)
    span = Coordinates.span(rank * D_OUT // 2, (rank + 1) * D_OUT // 2, D_OUT)
    y = FORMS[form](FORMS[form].rows(tensors, span))(x)
    torch.testing.assert_close(y, (x @ dense.T + tensors["bias"])[:, span.index])


@pytest.mark.parametrize("form", SPLIT)
def test_some_outputs_in_another_order(form):
    tensors, dense = stored(form)
    x = torch.randn(5, D_IN)
    order = Coordinates(torch.randperm(D_OUT), D_OUT)
    y = FORMS[form](FORMS[form].rows(tensors, order))(x)
    torch.testing.assert_close(y, (x @ dense.T + tensors["bias"])[:, order.index])


@pytest.mark.parametrize("form", SPLIT)
@pytest.mark.parametrize("ranks", [2, 3, 12])
def test_shares_of_the_input_add_up(form, ranks):
    tensors, dense = stored(form)
    del tensors["bias"]
    x = torch.randn(5, D_IN)
    total = torch.zeros(5, D_OUT)
    for rank in range(ranks):
        span = Coordinates.span(rank * D_IN // ranks, (rank + 1) * D_IN // ranks, D_IN)
        total += FORMS[form](FORMS[form].columns(tensors, span))(x[:, span.index])
    torch.testing.assert_close(total, x @ dense.T)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_narrowed_mlp_is_shared_among_ranks(ranks):
    torch.manual_seed(0)
    kept = permutation(D_OUT, RANK)[0].sort().values
    up, down = torch.randn(RANK, D_IN), torch.randn(D_IN, RANK)
    x = torch.randn(5, D_IN)
    total = torch.zeros(5, D_IN)
    for rank in range(ranks):
        span = Coordinates.span(rank * D_OUT // ranks, (rank + 1) * D_OUT // ranks, D_OUT)
        rows = FORMS["kept-rows"].rows({"weight": up, "kept": kept}, span)
        columns = FORMS["kept-columns"].columns({"weight": down, "kept": kept}, span)
        total += FORMS["kept-columns"](columns)(FORMS["kept-rows"](rows)(x).relu())
    torch.testing.assert_close(total, (x @ up.T).relu() @ down.T)


def test_no_part_of_a_head():
    tensors, _ = stored("head-identity")
    with pytest.raises(ValueError, match="no whole heads of 4"):
        FORMS["head-identity"].rows(tensors, Coordinates.span(0, 3, D_OUT))


@pytest.mark.parametrize("form", SPLIT)
def test_neurons_stand_in_the_order_in_which_they_are_read(form):
    before, dense = stored(form)
    torch.manual_seed(1)
    kept, rest = permutation(D_OUT, 3)
    tensors = {
        "F": torch.randn(D_IN, 3),
        "T": torch.randn(3, D_OUT - 3),
        "kept": kept,
        "rest": rest,
    }
    x = torch.randn(5, D_IN)
    y = FORMS["block-identity"](tensors)((x @ dense.T + before["bias"]).relu())
    up, down = arrived(form, before, D_IN, D_OUT), arrived("block-identity", tensors, D_OUT, D_IN)
    exchange([up], down)
    up, down = up.finished(), down.finished()
    assert down.latent.order is None
    torch.testing.assert_close(down(up(x).relu()), y)


def arrived(form, tensors, d_in, d_out):
    layer = StoredLayer(form, d_in, d_out, 1, bias="bias" in tensors)
    spans = (Coordinates.span(0, size, size) for size in (d_in, d_out))
    part = Part("layer", layer, *spans, torch.float32, adds_bias=True)
    for name, tensor in tensors.items():
        part.put(name, tensor)
    return part
