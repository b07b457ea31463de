"""Ask a model in memory: prompts to padded inputs, answers as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import BatchFeature, GenerationConfig, LogitsProcessor, LogitsProcessorList

from harness.errors import NonFiniteError, UsageError
from harness.models.chat_template import render
from harness.models.language_model import LanguageModel
from harness.models.prompt import Prompt


def encode(subject: LanguageModel, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
    """Model inputs for a batch of prompts, padded on the left, on the model's device.

    Uses the chat template of the model's processor. Each prompt brings its own images and sees
    no other's: the token that stands for an image is taken out of the text, as lmms-eval does.

    Raises:
        UsageError: the model has no processor, hence cannot see images.
    """
    require_sight(subject)
    processor: Any = subject.processor
    texts = [_rendered(subject, prompt) for prompt in prompts]
    images = [list(prompt.images) for prompt in prompts if prompt.images]
    inputs: BatchFeature = processor(
        text=texts,
        images=images or None,
        padding=True,
        padding_side="left",
        # The template wrote the special tokens already.
        add_special_tokens=False,
        return_tensors="pt",
    )
    return dict(inputs.to(subject.model.device, subject.model.dtype))


def answer_length(subject: LanguageModel, prompt: Prompt) -> int:
    """Tokens that a prompt's answer adds at the end of what ``encode`` makes of the prompt."""
    asked, answered = (
        len(subject.tokenizer(_rendered(subject, version), add_special_tokens=False).input_ids)
        for version in (replace(prompt, answer=None), prompt)
    )
    return answered - asked


def require_sight(subject: LanguageModel) -> None:
    """Raise ``UsageError`` unless the model can see images."""
    if subject.processor is None:
        raise UsageError(
            f"{subject.asset.reference} reads text only and this task shows images; pass a "
            "vision-language --model, e.g. builtin:llava-tiny"
        )


class Written(NamedTuple):
    """An answer, and whether it ended by itself and not by its greatest length."""

    text: str
    ended: bool


def answer(
    subject: LanguageModel,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    stop: Sequence[str] = (),
    **options: Any,
) -> tuple[str, ...]:
    """The text of each answer; see ``write``."""
    written = write(subject, prompts, max_new_tokens, stop, **options)
    return tuple(answer.text for answer in written)


@torch.no_grad()
def write(
    subject: LanguageModel,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    stop: Sequence[str] = (),
    **options: Any,
) -> tuple[Written, ...]:
    """Answers to a batch of prompts, without special tokens and outer white space.

    Args:
        subject: the model and its processor.
        prompts: what to answer.
        max_new_tokens: an answer ends there.
        stop: texts before which an answer ends.
        options: of transformers' generation where it is not plain greedy, e.g. ``num_beams=3``.

    Raises:
        NonFiniteError: the model gives NaN as scores of a token.
        UsageError: the model cannot see images.
    """
    inputs = encode(subject, prompts)
    processor: Any = subject.processor
    model: Any = subject.model
    with generation_settings(
        subject, **{"do_sample": False, "max_new_tokens": max_new_tokens} | options
    ):
        output = model.generate(**inputs, logits_processor=LogitsProcessorList([NoNaN()]))
        ends = model.generation_config.eos_token_id
    new = output[:, inputs["input_ids"].shape[1] :]
    texts: list[str] = processor.batch_decode(new, skip_special_tokens=True)
    stops = torch.tensor([] if ends is None else ends, dtype=new.dtype, device=new.device)
    ended = torch.isin(new, stops).any(1).tolist()
    return tuple(
        Written(
            _before(text, stop).strip(),
            by_itself or new.shape[1] < max_new_tokens or any(end in text for end in stop),
        )
        for text, by_itself in zip(texts, ended, strict=True)
    )


def _rendered(subject: LanguageModel, prompt: Prompt) -> str:
    """The prompt as text; one without an answer ends where the answer is to begin."""
    processor: Any = subject.processor
    turns = _messages(prompt, processor.image_token)
    return render(processor, turns, subject.asset.reference, answers=prompt.answer is None)


def _messages(prompt: Prompt, image_token: str) -> list[dict[str, Any]]:
    text = prompt.text.replace(image_token, "")
    content = [{"type": "image"} for _ in prompt.images] + [{"type": "text", "text": text}]
    turns = [{"role": "user", "content": content}]
    if prompt.answer is not None:
        turns.append({"role": "assistant", "content": [{"type": "text", "text": prompt.answer}]})
    return turns


def _before(text: str, stop: Sequence[str]) -> str:
    for end in stop:
        text = text.partition(end)[0]
    return text


@contextmanager
def generation_settings(subject: LanguageModel, **settings: Any) -> Iterator[None]:
    """Generate by ``settings``; of the model's own only the stop tokens count.

    transformers fills whatever a call leaves open from the model's own settings, such as a
    penalty for repetition, so they are set aside.
    """
    model = subject.model
    own = model.generation_config
    ends = own.eos_token_id if own else None
    model.generation_config = GenerationConfig(
        eos_token_id=subject.tokenizer.eos_token_id if ends is None else ends,
        pad_token_id=subject.tokenizer.pad_token_id,
        **settings,
    )
    try:
        yield
    finally:
        model.generation_config = own


class NoNaN(LogitsProcessor):
    """Stop at NaN, from which generation would make a word like any other."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        """``scores`` as they are."""
        if scores.isnan().any():
            raise NonFiniteError("the model gives NaN as scores of the next token")
        return scores
