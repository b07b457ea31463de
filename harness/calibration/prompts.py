"""Calibration on questions with images and answers, as a vision-language model reads them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.calibration.text import Inputs
from harness.errors import UsageError
from harness.models.generation import answer_length, encode
from harness.models.language_model import LanguageModel
from harness.models.prompt import Prompt, PromptSource
from harness.records.record import DataFacts
from harness.records.spec import CalibrationSpec


@dataclass(frozen=True)
class PromptCalibration:
    """Prompts with answers, encoded by the model's own processor; image tokens count."""

    subject: LanguageModel
    prompts: Sequence[Prompt]
    facts: DataFacts
    spec: CalibrationSpec

    def __len__(self) -> int:
        return len(self.prompts)

    def batches(self, batch_size: int, device: torch.device) -> Iterator[Inputs]:
        """See ``harness.calibration.text.Calibration``."""
        for at in range(0, len(self.prompts), batch_size):
            inputs = encode(self.subject, self.prompts[at : at + batch_size])
            yield {name: tensor.to(device) for name, tensor in inputs.items()}

    def graded(self, batch_size: int, device: torch.device) -> Iterator[tuple[Inputs, Tensor]]:
        """The answers are to be predicted, which stand last; see ``Calibration``."""
        for at, inputs in enumerate(self.batches(batch_size, device)):
            prompts = self.prompts[at * batch_size : (at + 1) * batch_size]
            sizes = torch.tensor([answer_length(self.subject, prompt) for prompt in prompts])
            positions = torch.arange(inputs["input_ids"].shape[1])
            yield inputs, (positions >= len(positions) - sizes[:, None]).to(device)


def draw_prompts(
    source: PromptSource, subject: LanguageModel, spec: CalibrationSpec
) -> PromptCalibration:
    """Draw ``spec.samples`` different prompts, reproducibly by ``spec.seed``.

    Raises:
        UsageError: there are fewer prompts than asked, or the model cannot see images.
        AssetError: the image of a prompt cannot be read.
    """
    available = len(source.prompts)
    if available < spec.samples:
        raise UsageError(
            f"the training split of '{source.reference}' has {available} questions, "
            f"{spec.samples} are asked; pass fewer --samples"
        )
    rng = random.Random(spec.seed)  # noqa: S311
    prompts = [source.prompts[i] for i in sorted(rng.sample(range(available), spec.samples))]
    tokens = sum(encode(subject, [prompt])["input_ids"].numel() for prompt in prompts)
    facts = DataFacts(
        reference=source.reference,
        fingerprint=source.fingerprint,
        revision=source.revision,
        tokens=tokens,
    )
    return PromptCalibration(subject, prompts, facts, spec)
