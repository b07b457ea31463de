"""The folder that peft saves an adapter to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open

from harness.assets.folders import ADAPTER
from harness.assets.hashing import files_sha256
from harness.errors import UsageError
from harness.records.record import TrainingFacts

WEIGHTS = "adapter_model.safetensors"
CARD = "README.md"
_FIX = "pass the folder that save_pretrained of peft wrote"


@dataclass(frozen=True)
class AdapterAsset:
    """An adapter at hand; ``fingerprint`` covers its configuration and its weights."""

    reference: str
    folder: Path
    fingerprint: str
    names: frozenset[str]
    trained_on: tuple[str, ...] | None

    def facts(self, parameters: int) -> TrainingFacts:
        """What a record says of a model with it."""
        return TrainingFacts(
            what="adapter",
            trained_on=self.trained_on,
            reference=self.reference,
            fingerprint=self.fingerprint,
            parameters=parameters,
        )


def resolve_adapter(reference: str | Path) -> AdapterAsset:
    """The adapter in the folder ``reference``.

    Raises:
        UsageError: there is none, it is damaged, or it is of a kind that is not applied.
    """
    folder = Path(reference).expanduser()
    for name in (ADAPTER, WEIGHTS):
        if not (folder / name).is_file():
            raise UsageError(f"{reference} is no adapter: it lacks {name}; {_FIX}")
    try:
        config: Any = json.loads((folder / ADAPTER).read_text("utf-8"))
        kind = config["peft_type"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{folder / ADAPTER} is damaged; save or copy the adapter again"
        ) from error
    if kind != "LORA":
        raise UsageError(f"{reference} is an adapter of the kind {kind}; only LORA is applied")
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as opened:
            names = frozenset(opened.keys())
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"{folder / WEIGHTS} is truncated or damaged ({error}); save or copy the adapter again"
        ) from error
    fingerprint = files_sha256([folder / ADAPTER, folder / WEIGHTS])
    return AdapterAsset(str(reference), folder, fingerprint, names, _trained_on(folder / CARD))


def _trained_on(card: Path) -> tuple[str, ...] | None:
    """The ``datasets`` in the front matter of the adapter's card, None where it names none."""
    try:
        _, front, _ = card.read_text("utf-8").split("---\n", 2)
        named = yaml.safe_load(front)["datasets"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None
    named = [named] if isinstance(named, str) else named
    if not isinstance(named, list) or not named:
        return None
    return tuple(map(str, named))
