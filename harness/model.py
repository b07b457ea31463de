"""A language model in memory, together with what is known about it."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from harness.assets.kinds import ModelAsset
from harness.families.family import Family
from harness.record import CompressionFacts


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model in evaluation mode, its tokenizer, family and origin.

    ``processor`` turns images and text into inputs, None for a model that reads only text;
    ``compression`` is None for the dense model.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    family: Family
    asset: ModelAsset
    processor: ProcessorMixin | None = None
    compression: CompressionFacts | None = None
