"""Blocks brought into memory for a while, and sent out again.

transformers and accelerate open a model whose blocks stay in their safetensors files: parameters
are on the meta device, and hooks read them at every call and drop them afterwards. Buffers stay in
memory. Here the hooks of one block are exchanged for the values, and back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from accelerate.hooks import (
    AlignDevicesHook,
    add_hook_to_module,
    attach_align_device_hook,
    remove_hook_from_module,
)
from accelerate.utils import (
    OffloadedWeightsLoader,
    PrefixedDataset,
    set_module_tensor_to_device,
)
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.accelerate import load_offloaded_parameter


def is_offloaded(model: nn.Module) -> bool:
    """Whether parts of ``model`` are on disk."""
    return any(parameter.is_meta for parameter in model.parameters())


def bring_in(block: nn.Module) -> None:
    """Read all of ``block`` to the device that it computes on; it becomes an ordinary module."""
    for module in block.modules():
        for hook in _hooks(module):
            for name, parameter in list(module.named_parameters(recurse=False)):
                if hook.offload and parameter.is_meta:
                    assert hook.weights_map is not None
                    value = hook.weights_map[name]
                    set_module_tensor_to_device(module, name, hook.execution_device, value)
        _unhook(module)


def read_together(module: nn.Module) -> None:
    """Read all of ``module`` when it is called, because it uses its layers without calling them.

    Nothing happens to one that is in memory.
    """
    on_disk = [
        (path, hook)
        for path, child in module.named_modules()
        for hook in _hooks(child)
        if hook.offload
    ]
    if not on_disk:
        return
    path, hook = on_disk[0]
    stored = hook.weights_map
    assert isinstance(stored, PrefixedDataset)
    for child in module.modules():
        _unhook(child)
    whole = PrefixedDataset(stored.dataset, stored.prefix.removesuffix(f"{path}."))
    add_hook_to_module(
        module,
        AlignDevicesHook(
            hook.execution_device, offload=True, weights_map=whole, place_submodules=True
        ),
    )


def send_out(block: nn.Module, file: Path, device: torch.device) -> None:
    """Drop the parameters of ``block``; they are read from ``file`` at every call from now on.

    Args:
        block: an ordinary module.
        file: safetensors with its parameters by their names in it.
        device: where it computes.
    """
    index = {
        name: {
            "safetensors_file": str(file),
            "weight_name": name,
            "dtype": str(parameter.dtype).removeprefix("torch."),
        }
        for name, parameter in block.named_parameters()
    }
    for module in block.modules():
        for name, _ in list(module.named_parameters(recurse=False)):
            set_module_tensor_to_device(module, name, "meta")
    loader = OffloadedWeightsLoader(index=index, device=str(device))
    attach_align_device_hook(block, execution_device=device, offload=True, weights_map=loader)


def misshapen(model: nn.Module) -> list[str]:
    """Parameters on disk whose shape there is another than that in ``model``."""
    names: list[str] = []
    for path, module in model.named_modules():
        for hook in _hooks(module):
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.is_meta and parameter.shape != _shape(hook, name):
                    names.append(f"{path}.{name}")
    return names


def _shape(hook: AlignDevicesHook, name: str) -> torch.Size:
    stored = hook.weights_map
    assert isinstance(stored, PrefixedDataset)
    known = stored.dataset.index[stored.prefix + name]
    with safe_open(known["safetensors_file"], framework="pt") as file:
        return torch.Size(file.get_slice(known["weight_name"]).get_shape())


def value_of(model: nn.Module, name: str, tensor: Tensor) -> Tensor:
    """The parameter or buffer ``name`` of ``model``, read if it is on disk."""
    return (
        load_offloaded_parameter(cast("PreTrainedModel", model), name) if tensor.is_meta else tensor
    )


def _unhook(module: nn.Module) -> None:
    if hasattr(module, "_hf_hook"):
        remove_hook_from_module(module)
        del module.forward  # what is left is the class's own, bound


def _hooks(module: nn.Module) -> Iterator[AlignDevicesHook]:
    hook = getattr(module, "_hf_hook", None)
    for part in getattr(hook, "hooks", (hook,)):
        if isinstance(part, AlignDevicesHook):
            yield part
