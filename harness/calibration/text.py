"""Calibration: which tokens the statistics are taken over."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from harness.assets.kinds import TextAsset
from harness.errors import UsageError
from harness.records.record import DataFacts
from harness.records.spec import CalibrationSpec

CHARACTERS_PER_TOKEN = 64
"""How much text is tokenised per token wanted: enough for a choice, bounded for huge corpora."""


Inputs = Mapping[str, Tensor]
"""Keyword arguments of a model; ``attention_mask: [batch, length]`` is 0 at padding."""


class Calibration(Protocol):
    """What the statistics are taken over; padding enters none of them."""

    @property
    def facts(self) -> DataFacts:
        """Where the samples come from."""

    @property
    def spec(self) -> CalibrationSpec | None:
        """How they were drawn, None for samples made otherwise."""

    def __len__(self) -> int:
        """Number of samples."""

    def batches(self, batch_size: int, device: torch.device) -> Iterator[Inputs]:
        """Inputs of at most ``batch_size`` samples at a time, on ``device``."""

    def graded(self, batch_size: int, device: torch.device) -> Iterator[tuple[Inputs, Tensor]]:
        """The same inputs, each with the mask ``[batch, length]`` of the tokens to predict."""


@dataclass(frozen=True)
class TextCalibration:
    """Token sequences; ``input_ids`` and ``attention_mask`` are ``[samples, length]``."""

    input_ids: Tensor
    attention_mask: Tensor
    facts: DataFacts
    spec: CalibrationSpec | None = None

    def __len__(self) -> int:
        return len(self.input_ids)

    def batches(self, batch_size: int, device: torch.device) -> Iterator[Inputs]:
        """See ``Calibration``."""
        for ids, mask in zip(
            self.input_ids.split(batch_size), self.attention_mask.split(batch_size), strict=True
        ):
            yield {"input_ids": ids.to(device), "attention_mask": mask.to(device)}

    def with_generated(self, ids: Tensor) -> TextCalibration:
        """With more sequences, ``[samples, length]``, that the model has written."""
        together = torch.cat([self.input_ids, ids])
        facts = self.facts.model_copy(update={"tokens": together.numel()})
        return replace(
            self, input_ids=together, attention_mask=torch.ones_like(together), facts=facts
        )

    def graded(self, batch_size: int, device: torch.device) -> Iterator[tuple[Inputs, Tensor]]:
        """Every token of a text is to be predicted; see ``Calibration``."""
        for inputs in self.batches(batch_size, device):
            yield inputs, inputs["attention_mask"].bool()


def draw_text(
    text: TextAsset, tokenizer: PreTrainedTokenizerBase, spec: CalibrationSpec
) -> TextCalibration:
    """Draw ``spec.samples`` sequences of ``spec.length`` tokens, reproducibly by ``spec.seed``.

    Raises:
        UsageError: the text holds fewer tokens than asked.
    """
    sampler = sample_documents if spec.sampling == "documents" else sample_windows
    ids = sampler(text.documents, tokenizer, spec)
    facts = DataFacts(
        reference=text.reference,
        fingerprint=text.fingerprint,
        revision=text.revision,
        tokens=ids.numel(),
    )
    return TextCalibration(ids, torch.ones_like(ids), facts, spec)


def sample_windows(
    documents: Sequence[str], tokenizer: PreTrainedTokenizerBase, spec: CalibrationSpec
) -> Tensor:
    """Disjoint windows of the documents joined with blank lines, ``[samples, length]``.

    Of a large corpus only a random contiguous stretch is tokenised.
    """
    assert spec.length is not None
    rng = random.Random(spec.seed)  # noqa: S311
    wanted = spec.samples * spec.length
    ids = tokenize("\n\n".join(_stretch(documents, wanted * CHARACTERS_PER_TOKEN, rng)), tokenizer)
    available = len(ids) // spec.length
    if available < spec.samples:
        raise UsageError(
            f"the calibration text has {len(ids)} tokens, {spec.samples} x {spec.length} = "
            f"{wanted} are asked; pass a longer --calibration, or fewer --samples or "
            "a smaller --length"
        )
    starts = sorted(rng.sample(range(available), spec.samples))
    return torch.stack([ids[s * spec.length : (s + 1) * spec.length] for s in starts])


def sample_documents(
    documents: Sequence[str], tokenizer: PreTrainedTokenizerBase, spec: CalibrationSpec
) -> Tensor:
    """The C4 loader of the compression papers, ``[samples, length]``.

    Draws documents at random until one has more than ``length`` tokens, then an offset inside
    it, from one stream seeded by ``spec.seed``.
    """
    assert spec.length is not None
    rng = random.Random(spec.seed)  # noqa: S311
    rows: list[Tensor] = []
    short = 0
    while len(rows) < spec.samples:
        ids = tokenize(documents[rng.randint(0, len(documents) - 1)], tokenizer)
        if len(ids) > spec.length:
            offset = rng.randint(0, len(ids) - spec.length - 1)
            rows.append(ids[offset : offset + spec.length])
            short = 0
            continue
        short += 1
        if short > 20 * len(documents) + 1000:
            raise UsageError(
                f"no calibration document has more than {spec.length} tokens; pass longer "
                "documents to --calibration, or a smaller --length"
            )
    return torch.stack(rows)


def tokenize(text: str, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Token ids of ``text`` with the tokenizer's default special tokens, ``[n]``."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # length warnings concern feeding a model, not cutting windows
    try:
        ids: Tensor = tokenizer(text, return_tensors="pt").input_ids[0]
    finally:
        logging.set_verbosity(verbosity)
    return ids.long()


def _stretch(documents: Sequence[str], characters: int, rng: random.Random) -> list[str]:
    if sum(map(len, documents)) <= characters:
        return list(documents)
    start = rng.randrange(len(documents))
    taken: list[str] = []
    size = 0
    for document in [*documents[start:], *documents[:start]]:
        taken.append(document)
        size += len(document)
        if size >= characters:
            break
    return taken
