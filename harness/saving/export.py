"""Write a compressed model as an ordinary checkpoint of the original architecture."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel

from harness.compression import share_copy
from harness.errors import UsageError
from harness.factors import Factor, stored_bytes
from harness.families.fused import FusedFactors
from harness.model import LanguageModel
from harness.saving.save import plain_configuration, write_companions
from harness.saving.shards import SHARD_BYTES
from harness.saving.target import filled_aside


@torch.no_grad()
def export_dense(
    subject: LanguageModel, folder: str | Path, shard_bytes: int = SHARD_BYTES
) -> Path:
    """Multiply all factors out, in float64, and save what ``save_pretrained`` makes of it.

    Any software that reads the original model reads the result; it has the dense model's size.
    Value and output, or query and key, may have been turned into another basis; as a pair their
    products are those of the factors.

    Args:
        subject: a compressed model.
        folder: where to; absent or empty.
        shard_bytes: size above which weights are split into several files.

    Returns:
        The folder.

    Raises:
        UsageError: the model is not compressed, the folder is taken, or a layer got a bias that
            the architecture has no place for.
        InfrastructureError: there is not enough space, or the folder cannot be written.
    """
    if subject.compression is None:
        raise UsageError(f"{subject.asset.reference} is not compressed; it is an ordinary model")
    target = Path(folder).expanduser().resolve()
    original = _original(subject.model)
    with filled_aside(target, stored_bytes(original)) as aside:
        _unfactored(subject.model, original).save_pretrained(aside, max_shard_size=shard_bytes)
        write_companions(subject, aside)
    return target


def _original(model: PreTrainedModel) -> PreTrainedModel:
    """The architecture without values, in the model's dtype."""
    config = AutoConfig.for_model(**plain_configuration(model))
    with torch.device("meta"):
        original: Any = type(model)(config)
    return cast("PreTrainedModel", original.to(model.dtype))


def _unfactored(model: PreTrainedModel, original: PreTrainedModel) -> PreTrainedModel:
    """A copy of ``model`` with linear layers where ``original`` has them."""
    plain = share_copy(model)
    plain.config = original.config
    if quantizer := getattr(plain, "hf_quantizer", None):
        quantizer.remove_quantization_config(plain)
    places = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, FusedFactors)
        or (isinstance(module, Factor) and not isinstance(_parent(model, path), FusedFactors))
    ]
    for path, module in places:
        plain.set_submodule(path, _linear(path, module, original))
    return plain


def _linear(path: str, module: nn.Module, original: PreTrainedModel) -> nn.Linear:
    like = original.get_submodule(path)
    assert isinstance(like, nn.Linear)
    parts = [part for part in module.modules() if isinstance(part, Factor)]
    weight = torch.cat([copy.deepcopy(part).double().dense() for part in parts])
    biases = [_bias(part, len(weight) // len(parts)) for part in parts]
    linear = nn.Linear(like.in_features, like.out_features, like.bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.to(like.weight.dtype), requires_grad=False)
    if like.bias is not None:
        linear.bias = nn.Parameter(torch.cat(biases).to(like.weight.dtype), requires_grad=False)
    elif any(part.bias is not None for part in parts):
        raise UsageError(
            f"{path} got a bias, for which a {original.config.model_type} model has no place; "
            "compress with --bias-update auto or never to export"
        )
    return linear


def _bias(factor: Factor, size: int) -> Tensor:
    if factor.bias is None:
        return torch.zeros(size)
    return factor.bias.detach()


def _parent(model: nn.Module, path: str) -> nn.Module:
    return model.get_submodule(path.rpartition(".")[0])
