"""The tensors of an ordinary model, made of the factors of a compressed one."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor
from transformers import PreTrainedModel

from harness.layers.factors import CompressedLinear
from harness.layers.fused import FusedFactors
from harness.layers.install import make_runnable
from harness.layers.shapes import shape_of
from harness.offload.hooks import value_of


class DenseTensors(dict[str, Tensor]):
    """The dense tensors of ``model`` by name, each made when it is asked for and not kept.

    Factors are multiplied out in float64. Pruned layers stand with all their neurons, those that
    are gone being zero, unless their paths are in ``narrow``.
    """

    def __init__(self, model: PreTrainedModel, narrow: Collection[str] = ()) -> None:
        super().__init__()
        self.model = model
        self.narrow = narrow

    def __missing__(self, name: str) -> Tensor:
        path, _, kind = name.rpartition(".")
        parts = parts_of(self.model, path)
        if not parts or path in self.narrow:
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


def parts_of(model: PreTrainedModel, path: str) -> dict[str, CompressedLinear]:
    """The factors by their paths that stand in the place of one linear layer."""
    module = model.get_submodule(path)
    if isinstance(module, FusedFactors):
        paths = {f"{path}.{name}": part for name, part in module.items()}
    else:
        paths = {path: module}
    return {name: part for name, part in paths.items() if isinstance(part, CompressedLinear)}
