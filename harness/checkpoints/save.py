"""Write a compressed model to a folder."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.assets.weight_files import NAMED, NO_WEIGHTS
from harness.checkpoints.atomic_folder import filled_aside
from harness.checkpoints.format import Layout
from harness.checkpoints.layer_formats import saved_layers
from harness.checkpoints.manifest import CARD, write_manifest
from harness.checkpoints.model_card import model_card
from harness.checkpoints.saved_record import RECORD, SavedRecord
from harness.checkpoints.shards import SHARD_BYTES, write_shards
from harness.checkpoints.standalone import AUTO_MAP, FILE, standalone_source
from harness.errors import UsageError
from harness.layers.factors import CompressedLinear, stored_bytes
from harness.models.language_model import LanguageModel
from harness.offload.hooks import is_offloaded, value_of
from harness.records.environment import describe
from harness.records.record import RunRecord, TrainingFacts

LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*")


def save(
    subject: LanguageModel,
    folder: str | Path,
    *,
    records: Sequence[RunRecord] = (),
    force: bool = False,
    shard_bytes: int | None = None,
) -> Path:
    """Write ``subject`` so that ``harness.load`` and transformers open it anywhere.

    The folder holds safetensors, the original architecture's configuration with a layout of the
    factors, code to open it without harness, tokenizer or processor, generation settings,
    ``record.json``, a model card, and a manifest of SHA-256. It appears whole or not at all.

    Args:
        subject: a compressed model.
        folder: where to; absent, empty, or a saved model with ``force``.
        records: evaluations of it.
        force: replace a saved model that is there.
        shard_bytes: size above which weights are split into several files; by default 5 GB, or
            one block where blocks are on disk, because as much is held in memory.

    Returns:
        The folder.

    Raises:
        UsageError: the model is not compressed, or the folder is something else.
        InfrastructureError: there is not enough space, or the folder cannot be written.
    """
    target = Path(folder).expanduser().resolve()
    saved = _saved_record(subject, records)
    with filled_aside(target, stored_bytes(subject.model), force) as aside:
        write_shards(stored_tensors(subject.model), aside, shard_bytes or _shard_bytes(subject))
        _write_json(aside / "config.json", configuration(subject))
        write_companions(subject, aside)
        (aside / FILE).write_text(standalone_source(), encoding="utf-8")
        (aside / RECORD).write_text(saved.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (aside / CARD).write_text(model_card(saved), encoding="utf-8")
        write_manifest(aside)
    return target


def stored_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every distinct tensor that ``model`` stores, by its first name; tied ones once.

    Those on disk are read as they come.
    """
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield name, value_of(model, name, tensor)


def _shard_bytes(subject: LanguageModel) -> int:
    if not is_offloaded(subject.model):
        return SHARD_BYTES
    blocks = subject.family.all_blocks(subject.model)
    return min(SHARD_BYTES, max(stored_bytes(block.module) for block in blocks))


def write_companions(subject: LanguageModel, folder: Path) -> None:
    """What a model needs beside weights and configuration, and its licence if it brings one."""
    (subject.processor or subject.tokenizer).save_pretrained(folder)
    if subject.model.generation_config is not None:
        subject.model.generation_config.save_pretrained(folder)
    for pattern in LICENCES:
        for file in subject.asset.folder.glob(pattern):
            shutil.copyfile(file, folder / file.name)


def plain_configuration(model: PreTrainedModel) -> dict[str, Any]:
    """The configuration of the original architecture, as transformers writes it."""
    config = copy.deepcopy(model.config)
    for key in ("quantization_config", "auto_map", NAMED):
        config.__dict__.pop(key, None)
    config.architectures = [type(model).__name__]
    config.dtype = str(model.dtype).removeprefix("torch.")
    content: dict[str, Any] = json.loads(config.to_json_string())
    return content


def configuration(subject: LanguageModel) -> dict[str, Any]:
    """The same with the layout of the factors."""
    latent = subject.compression is not None and subject.compression.cache is not None
    layout = Layout(
        cache="latent" if latent else "expanded",
        layers=saved_layers(subject.model),
    )
    return plain_configuration(subject.model) | {
        "quantization_config": layout.model_dump(mode="json"),
        NAMED: NO_WEIGHTS,
        "auto_map": AUTO_MAP,
    }


def _saved_record(subject: LanguageModel, records: Sequence[RunRecord]) -> SavedRecord:
    if subject.compression is None or subject.origin is None:
        raise UsageError(
            f"{subject.asset.reference} is not compressed, so there is nothing to save; "
            "compress it first"
        )
    return SavedRecord(
        origin=subject.origin,
        compression=subject.compression,
        records=tuple(records),
        environment=describe(str(subject.model.device), offloaded=is_offloaded(subject.model)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        training=_training(subject),
    )


def _training(subject: LanguageModel) -> TrainingFacts | None:
    """What happened since the compression; factors that take gradients were made to for a reason.

    Raises:
        UsageError: an adapter is beside the weights.
    """
    if any("lora_" in name for name, _ in subject.model.named_parameters()):
        raise UsageError(
            "the model has an adapter, which is no part of it; save that by save_pretrained of "
            "peft, and the model without it"
        )
    factors = (module for module in subject.model.modules() if isinstance(module, CompressedLinear))
    if any(weight.requires_grad for factor in factors for weight in factor.parameters()):
        return subject.training or TrainingFacts(what="weights")
    return subject.training


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
