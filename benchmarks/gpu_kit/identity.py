"""Is a model in factor form, in bfloat16, the dense one with the same matrices?

Both are held against the same matrices in float32: what is left are the roundings of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from gpu_kit.budget import Unit
from gpu_kit.report import Row
from gpu_kit.subjects import FORMS, Subject, tokens
from harness.families.family import Family
from harness.layers.factors import CompressedLinear, DenseLinear

RATIO = 0.4
BLOCKS = 2


def units(chosen: Sequence[Subject], device: torch.device, *, length: int) -> Iterator[Unit]:
    for subject in chosen:
        cut = subject.cut(BLOCKS)
        yield Unit(
            "identity",
            lambda: None,
            [
                (f"{subject.name}, {form}", partial(_row, cut, form, device, length))
                for form in FORMS
            ],
        )


@torch.inference_mode()
def _row(subject: Subject, form: str, device: torch.device, length: int, _: None) -> Row:
    model, family = subject.compressed(form, RATIO, device)
    ids = tokens(model, 2, length)
    factored = _logits(model, ids)
    _cast(model, torch.float32)
    exact = _logits(model, ids)
    _write_out(model, family)
    written = _logits(model, ids)
    _cast(model, torch.bfloat16)
    dense = _logits(model, ids)
    return {
        "model": subject.name,
        "blocks": subject.blocks,
        "form": form,
        "removed": RATIO,
        "error of factors": _error(factored, exact),
        "error of dense": _error(dense, exact),
        "factors / dense": _error(factored, exact) / _error(dense, exact),
        "in float32": _error(written, exact),
        "same token": _agreement(factored, dense),
    }


def _logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    return model(ids, use_cache=False).logits.double()


def _cast(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Parameters alone: the frequencies of rotary embeddings stay in float32."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def _write_out(model: PreTrainedModel, family: Family) -> None:
    for block in family.blocks(model):
        for path, layer in list(block.module.named_modules()):
            if isinstance(layer, CompressedLinear):
                block.module.set_submodule(path, DenseLinear(layer.dense(), layer.dense_bias()))


def _error(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def _agreement(a: Tensor, b: Tensor) -> float:
    return float((a.argmax(-1) == b.argmax(-1)).double().mean())
