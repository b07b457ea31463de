"""Write a compressed model as an ordinary checkpoint of the original architecture."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from accelerate.hooks import AlignDevicesHook
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel

from harness.checkpoints.atomic_folder import filled_aside
from harness.checkpoints.save import plain_configuration, write_companions
from harness.checkpoints.shards import SHARD_BYTES
from harness.errors import UsageError
from harness.layers.factors import CompressedLinear, stored_bytes
from harness.layers.fused import FusedFactors
from harness.layers.install import make_runnable
from harness.layers.shapes import shape_of
from harness.models.language_model import LanguageModel
from harness.offload.hooks import value_of


@torch.no_grad()
def export_dense(
    subject: LanguageModel, folder: str | Path, shard_bytes: int = SHARD_BYTES
) -> Path:
    """Multiply all factors out, in float64, and save what ``save_pretrained`` makes of it.

    Any software that reads the original model reads the result; it has the dense model's size, of
    which one shard at a time is held. Value and output, or query and key, may have been turned
    into another basis; as a pair their products are those of the factors.

    Args:
        subject: a compressed model, in memory or with its blocks on disk.
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
    _require_places(subject.model, original)
    with filled_aside(target, stored_bytes(original)) as aside:
        # To transformers a model on disk, which it reads shard by shard.
        original.hf_device_map = {"": "disk"}
        original._hf_hook = AlignDevicesHook(weights_map=_Tensors(subject.model))  # noqa: SLF001
        with warnings.catch_warnings(action="ignore"):
            original.save_pretrained(aside, max_shard_size=shard_bytes)
        write_companions(subject, aside)
    return target


def _original(model: PreTrainedModel) -> Any:
    """The architecture without values, in the model's dtype."""
    config = AutoConfig.for_model(**plain_configuration(model))
    with torch.device("meta"):
        original: Any = type(model)(config)
    return original.to(model.dtype)


def _require_places(model: PreTrainedModel, original: PreTrainedModel) -> None:
    """Raise ``UsageError`` where a layer has a bias that ``original`` has none for."""
    for path, like in original.named_modules():
        if not isinstance(like, nn.Linear) or like.bias is not None:
            continue
        if any(part.bias is not None for part in _parts(model, path).values()):
            raise UsageError(
                f"{path} got a bias, for which a {original.config.model_type} model has no place; "
                "compress with --bias-update auto or never to export"
            )


class _Tensors(dict[str, Tensor]):
    """The dense tensors of ``model``, each made when it is asked for and not kept."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def __missing__(self, name: str) -> Tensor:
        path, _, kind = name.rpartition(".")
        parts = _parts(self.model, path)
        if not parts:
            return self._stored(name)
        loaded = [self._loaded(part_path, part) for part_path, part in parts.items()]
        if kind == "weight":
            return torch.cat([part.dense() for part in loaded]).to(self.model.dtype)
        biases = [
            torch.zeros(shape_of(part).d_out) if bias is None else bias
            for part, bias in ((part, part.dense_bias()) for part in loaded)
        ]
        return torch.cat(biases).to(self.model.dtype)

    def _loaded(self, path: str, part: CompressedLinear) -> CompressedLinear:
        """A copy in memory, in float64."""
        with torch.device("meta"):
            made = shape_of(part).random()
        values = {name: self._stored(f"{path}.{name}") for name in part.state_dict()}
        made.load_state_dict(
            {
                name: value.double() if value.is_floating_point() else value
                for name, value in values.items()
            },
            assign=True,
        )
        make_runnable(made)
        return made

    def _stored(self, name: str) -> Tensor:
        return value_of(self.model, name, self.model.get_parameter_or_buffer(name))


def _parts(model: PreTrainedModel, path: str) -> dict[str, CompressedLinear]:
    """The factors by their paths that stand in the place of one linear layer."""
    module = model.get_submodule(path)
    if isinstance(module, FusedFactors):
        paths = {f"{path}.{name}": part for name, part in module.items()}
    else:
        paths = {path: module}
    return {name: part for name, part in paths.items() if isinstance(part, CompressedLinear)}
