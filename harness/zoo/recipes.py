"""Each small model: what it is made of, what it learns and for how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedModel

from harness.zoo import models, text, vision
from harness.zoo.training import Course, Schedule
from harness.zoo.vision_processors import llava_processor, qwen_processor

SEED = 0


@dataclass(frozen=True)
class Lesson:
    """A freshly built model and everything its training needs.

    ``tools`` is the tokenizer or the processor that is saved beside the weights. ``seeing`` steps
    train the vision tower alone before the course; ``more`` is a shorter course after it.
    """

    model: PreTrainedModel
    tools: Any
    course: Course
    schedule: Schedule
    seeing: int = 0
    more: tuple[Course, Schedule] | None = None


@dataclass(frozen=True)
class Recipe:
    """How one model of ours is made; ``data`` says in a sentence what it has read."""

    architecture: str
    data: str
    tasks: tuple[str, ...]
    prepare: Callable[[], Lesson]


def _read(build: Callable[[int, int], PreTrainedModel]) -> Lesson:
    trained, held_out = text.documents()
    tokenizer = text.tokenizer_of(trained)
    torch.manual_seed(SEED)
    model = build(len(tokenizer), tokenizer.eos_token_id)
    course = text.Reading(tokenizer, trained, held_out, batch_size=8, seed=SEED)
    schedule = Schedule(
        steps=10 * course.steps_per_pass,
        learning_rate=2e-3,
        warmup=100,
        weight_decay=0.1,
        seed=SEED,
        check_every=course.steps_per_pass // 2,
    )
    return Lesson(model, tokenizer, course, schedule)


def _answer(
    processor: Any, build: Callable[[Any], PreTrainedModel], steps: int, seeing: int, reading: int
) -> Lesson:
    torch.manual_seed(SEED)
    model = build(processor.tokenizer)
    # Much faster than the fused kernels for sequences as short as these.
    model.set_attn_implementation("eager")
    schedule = Schedule(
        steps=steps,
        learning_rate=8e-4,
        warmup=100,
        weight_decay=0.05,
        seed=SEED,
        check_every=250,
    )
    course = vision.Answering(processor, batch_size=32, seed=SEED)
    again = vision.Answering(processor, 32, SEED + 1, vision.MOSTLY_READING)
    more = (again, replace(schedule, steps=reading, learning_rate=6e-4)) if reading else None
    return Lesson(model, processor, course, schedule, seeing, more)


_ENGLISH = (
    "The training part of the Wikipedia excerpt in exllamav2==0.3.2 (the first 70 % of its "
    "characters), of which the last 5 % only validate. The part that the task `wiki-excerpt` "
    "evaluates on is never read."
)
_QUESTIONS = (
    "Generated questions of `mini-scienceqa` and `mini-textvqa` (harness/zoo), training split "
    "only, and the training split of easy-vqa==1.0 but for every twentieth picture. Which split a "
    "generated question or word belongs to is decided by a hash of its content."
)
_VISION_TASKS = ("mini-scienceqa", "mini-textvqa", "easy-vqa")

RECIPES = {
    "opt-tiny": Recipe("OPTForCausalLM", _ENGLISH, ("wiki-excerpt",), lambda: _read(models.opt)),
    "qwen3-tiny": Recipe(
        "Qwen3ForCausalLM", _ENGLISH, ("wiki-excerpt",), lambda: _read(models.qwen3)
    ),
    "llava-tiny": Recipe(
        "LlavaForConditionalGeneration (CLIP vision tower, Llama decoder)",
        _QUESTIONS,
        _VISION_TASKS,
        lambda: _answer(llava_processor(vision.texts()), models.llava, 10000, 1500, 0),
    ),
    "qwen2.5-vl-tiny": Recipe(
        "Qwen2_5_VLForConditionalGeneration",
        _QUESTIONS,
        _VISION_TASKS,
        lambda: _answer(qwen_processor(vision.texts()), models.qwen2_5_vl, 6500, 800, 1500),
    ),
}
