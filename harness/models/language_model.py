"""A language model in memory, together with what is known about it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from harness.assets.kinds import ModelAsset
from harness.families.family import Family
from harness.layers.factors import stored_bytes
from harness.layers.macs import macs_per_token
from harness.models.processors import image_processor_name
from harness.records.provenance import Origin
from harness.records.record import CompressionFacts, ModelFacts, TrainingFacts


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model in evaluation mode, its tokenizer, family and origin.

    ``processor`` turns images and text into inputs, None for a model that reads only text;
    ``compression`` and ``origin`` are None for the dense model;
    ``training`` is what happened since the compression, None for nothing.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    family: Family
    asset: ModelAsset
    processor: ProcessorMixin | None = None
    compression: CompressionFacts | None = None
    origin: Origin | None = None
    training: TrainingFacts | None = None

    def facts(self) -> ModelFacts:
        """The model as records keep it."""
        return ModelFacts(
            reference=self.asset.reference,
            fingerprint=self.asset.fingerprint,
            family=self.family.model_type,
            parameters=sum(p.numel() for p in self.model.parameters()),
            bytes=stored_bytes(self.model),
            image_processor=image_processor_name(self.processor),
            macs=macs_per_token(self.model),
            notes=self.asset.notes,
            precision=self.asset.precision,
        )


def share_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the module structure whose tensors are the original's own."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, memo={id(tensor): tensor for tensor in tensors})
