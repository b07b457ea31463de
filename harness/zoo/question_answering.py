"""Learning to answer questions about pictures and short texts, through the model's processor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import ProcessorMixin

from harness.datasets import easy_vqa, mini_scienceqa, mini_textvqa
from harness.datasets.deterministic import Split, seeded_random
from harness.models.prompt import Prompt
from harness.zoo import prompts
from harness.zoo.encoding import encode

SHARES = {"mini-scienceqa": 0.4, "mini-textvqa": 0.2, "easy-vqa": 0.4}
READING_SHARES = {"mini-scienceqa": 0.15, "mini-textvqa": 0.7, "easy-vqa": 0.15}
QUESTION_WEIGHT = 0.1
"""Weight of predicting the question beside that of predicting the answer."""
VALIDATION_SIZE = 256
"""Questions of each task in a validation."""
_IGNORED = -100


class QuestionAnswering:
    """A mixture of the three tasks; a question of the two generated ones hardly comes twice."""

    def __init__(
        self,
        processor: ProcessorMixin,
        batch_size: int,
        seed: int,
        shares: Mapping[str, float] = SHARES,
    ) -> None:
        self._processor: Any = processor
        self._batch_size = batch_size
        self._seed = seed
        self._shares = shares

    def losses(self, model: nn.Module, step: int) -> Iterator[Tensor]:
        """The cross-entropy of the answers of ``step``, and a little of that of their questions.

        Every question counts the same. The batch comes in two parts sorted by length, so that
        little is padded.
        """
        rng = seeded_random("answering", self._seed, step)
        tasks = rng.choices(list(self._shares), list(self._shares.values()), k=self._batch_size)
        examples = [example(task, "train", rng.getrandbits(40)) for task in tasks]
        examples.sort(key=lambda prompt: len(prompt.text))
        half = len(examples) // 2
        for part in (examples[:half], examples[half:]):
            answers, questions = self._cross_entropies(model, part)
            yield (answers + QUESTION_WEIGHT * questions) * len(part) / len(examples)

    def _cross_entropies(self, model: Any, examples: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        inputs, labels = batch(self._processor, examples)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(**inputs, use_cache=False).logits
        ids, labels = inputs["input_ids"][:, 1:], labels[:, 1:]
        losses = functional.cross_entropy(
            logits[:, :-1].float().transpose(1, 2), ids, reduction="none"
        )
        answer = labels != _IGNORED
        text = (inputs["attention_mask"][:, 1:] > 0) & (ids != self._processor.image_token_id)
        question = text & ~answer
        per_answer = (losses * answer).sum(-1) / answer.sum(-1)
        return per_answer.mean(), (losses * question).sum() / question.sum()

    @torch.no_grad()
    def validate(self, model: nn.Module) -> dict[str, float]:
        """Share of answers of which every token is the likeliest, per task."""
        scores = {}
        for task in SHARES:
            right = 0
            examples = validation(task)
            for at in range(0, len(examples), 64):
                logits, labels = self._forward(model, examples[at : at + 64])
                hits = (logits.argmax(-1) == labels) | (labels == _IGNORED)
                right += int(hits.all(-1).sum())
            scores[task] = right / len(examples)
        return scores

    def _forward(self, model: Any, examples: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        inputs, labels = batch(self._processor, examples)
        kept = int((labels != _IGNORED).any(0).float().argmax())
        with torch.autocast("cpu", torch.bfloat16):
            wanted = torch.arange(kept - 1, labels.shape[1] - 1)
            logits = model(**inputs, use_cache=False, logits_to_keep=wanted).logits
        return logits.float(), labels[:, kept:]


def example(task: str, split: Split, number: int) -> Prompt:
    """Question ``number`` of the training or validation data of ``task``, with its answer."""
    if task == "mini-scienceqa":
        return prompts.of_scienceqa(mini_scienceqa.question(split, number))
    if task == "mini-textvqa":
        return prompts.of_textvqa(mini_textvqa.question(split, number))
    answered = _easy_vqa(split)
    return answered[number % len(answered)]


@cache
def validation(task: str) -> list[Prompt]:
    """The questions of a validation."""
    return [example(task, "validation", number * 7) for number in range(VALIDATION_SIZE)]


def batch(processor: Any, examples: Sequence[Prompt]) -> tuple[dict[str, Tensor], Tensor]:
    """Model inputs padded on the left, and the labels: the answer and the end of its turn.

    The inputs are those that ``processor`` gives for 64 x 64 pictures, only sooner.
    """
    inputs = encode(processor, examples)
    ids = inputs["input_ids"]
    labels = torch.full_like(ids, _IGNORED)
    end = processor.tokenizer.eos_token_id
    for row, prompt in enumerate(examples):
        answer = answer_ids(processor, prompt)
        stop = int((ids[row] == end).nonzero()[-1]) + 1
        labels[row, stop - len(answer) : stop] = torch.tensor(answer)
    return inputs, labels


def answer_ids(processor: Any, prompt: Prompt) -> list[int]:
    """The tokens a model must give: the answer, then the end of its turn."""
    tokenizer = processor.tokenizer
    ids: list[int] = tokenizer.encode(prompt.answer, add_special_tokens=False)
    return [*ids, tokenizer.eos_token_id]


@cache
def _easy_vqa(split: Split) -> list[Prompt]:
    rows = easy_vqa.training() if split == "train" else easy_vqa.validation()
    return [prompts.of_easy_vqa(row) for row in rows]


def texts(count: int = 3000) -> Iterator[str]:
    """Training questions of every task with their answers, to build a tokenizer on."""
    for task in SHARES:
        for number in range(count):
            prompt = example(task, "train", number)
            yield f"user\n{prompt.text}\nassistant\n{prompt.answer}"
