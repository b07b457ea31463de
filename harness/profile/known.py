"""A model's configuration, of published models without a hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from harness.assets.aliases import DEFAULT_MODEL
from harness.assets.hub import download_config
from harness.assets.paths import existing_path
from harness.checkpoints.resolve import HUB_ID, resolve_model
from harness.checkpoints.untrusted import read_configuration

ALIASES = {DEFAULT_MODEL: "HuggingFaceTB/SmolLM2-135M-Instruct"}


@dataclass(frozen=True)
class Architecture:
    """A published model's shapes.

    Attributes:
        id: on the hub.
        tables: of the paper that list it.
        parameters: as counted by others, None where we know no count.
        source: where the shapes are from.
        model_type, config: of the transformers configuration.
    """

    id: str
    tables: tuple[str, ...]
    parameters: int | None
    source: str
    model_type: str
    config: Mapping[str, Any]

    def configuration(self) -> PretrainedConfig:
        """As transformers reads it."""
        return AutoConfig.for_model(self.model_type, **self.config)


@cache
def architectures() -> Mapping[str, Architecture]:
    """The published models we know, by their id on the hub."""
    text = files("harness.profile").joinpath("architectures.json").read_text(encoding="utf-8")
    models = [Architecture(**{**row, "tables": tuple(row["tables"])}) for row in _rows(text)]
    return {model.id: model for model in models}


def configuration(reference: str) -> PretrainedConfig:
    """The configuration of the model behind ``reference``; its weights are not fetched.

    Args:
        reference: as for ``resolve_model``; published models are known without a hub.

    Raises:
        UsageError: there is no such model.
        AssetError: its configuration cannot be had.
    """
    known = architectures().get(ALIASES.get(reference, reference))
    path = existing_path(reference, suffixes=(".gguf",))
    if known and path is None:
        return known.configuration()
    return read_configuration(_folder(reference, path), reference)


def _folder(reference: str, path: Path | None) -> Path:
    """Where ``config.json`` is; whole models are only fetched where they must be converted."""
    if path and (path / "config.json").is_file():
        return path
    match = None if path else HUB_ID.fullmatch(reference)
    if match:
        instead = "a local model folder"
        return download_config(match["repository"], match["revision"], instead)
    return resolve_model(reference).folder


def _rows(text: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(text)["models"]
    return rows
