"""A language model in memory, together with what is known about it."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from harness.assets.kinds import ModelAsset
from harness.families.family import Family
from harness.record import CompressionFacts


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model in evaluation mode, its tokenizer, family and origin.

    ``compression`` is None for the dense model.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    family: Family
    asset: ModelAsset
    compression: CompressionFacts | None = None
