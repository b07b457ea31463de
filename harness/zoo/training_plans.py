"""Each small model: what it is made of, what it learns and for how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedModel

from harness.zoo import language_modelling, models, question_answering
from harness.zoo.training import Objective, Schedule
from harness.zoo.vision_processors import llava_processor, qwen_processor

SEED = 0


@dataclass(frozen=True)
class TrainingSetup:
    """A freshly built model and everything its training needs.

    ``processor`` is the tokenizer or the processor that is saved beside the weights.
    ``vision_steps`` train the vision tower alone before the objective; ``second_stage`` follows it.
    """

    model: PreTrainedModel
    processor: Any
    objective: Objective
    schedule: Schedule
    vision_steps: int = 0
    second_stage: tuple[Objective, Schedule] | None = None


@dataclass(frozen=True)
class TrainingPlan:
    """How one model of ours is made; ``data`` says in a sentence what it has read."""

    architecture: str
    data: str
    tasks: tuple[str, ...]
    prepare: Callable[[], TrainingSetup]


def _language_model(build: Callable[[int, int], PreTrainedModel]) -> TrainingSetup:
    trained, held_out = language_modelling.documents()
    tokenizer = language_modelling.tokenizer_of(trained)
    torch.manual_seed(SEED)
    model = build(len(tokenizer), tokenizer.eos_token_id)
    objective = language_modelling.LanguageModelling(
        tokenizer, trained, held_out, batch_size=8, seed=SEED
    )
    schedule = Schedule(
        steps=10 * objective.steps_per_pass,
        learning_rate=2e-3,
        warmup=100,
        weight_decay=0.1,
        seed=SEED,
        check_every=objective.steps_per_pass // 2,
    )
    return TrainingSetup(model, tokenizer, objective, schedule)


def _vision_language_model(
    processor: Any,
    build: Callable[[Any], PreTrainedModel],
    steps: int,
    vision_steps: int,
    reading_steps: int,
) -> TrainingSetup:
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
    objective = question_answering.QuestionAnswering(processor, batch_size=32, seed=SEED)
    reading = question_answering.QuestionAnswering(
        processor, 32, SEED + 1, question_answering.READING_SHARES
    )
    second_stage = (
        (reading, replace(schedule, steps=reading_steps, learning_rate=6e-4))
        if reading_steps
        else None
    )
    return TrainingSetup(model, processor, objective, schedule, vision_steps, second_stage)


_ENGLISH = (
    "The training part of the Wikipedia excerpt in exllamav2==0.3.2 (the first 70 % of its "
    "characters), of which the last 5 % only validate. The part that the task `wiki-excerpt` "
    "evaluates on is never read."
)
_QUESTIONS = (
    "Generated questions of `mini-scienceqa` and `mini-textvqa` (harness/datasets), training "
    "split only, and the training split of easy-vqa==1.0 but for every twentieth picture. Which "
    "split a generated question or word belongs to is decided by a hash of its content."
)
_VISION_TASKS = ("mini-scienceqa", "mini-textvqa", "easy-vqa")

TRAINING_PLANS = {
    "opt-tiny": TrainingPlan(
        "OPTForCausalLM", _ENGLISH, ("wiki-excerpt",), lambda: _language_model(models.opt)
    ),
    "qwen3-tiny": TrainingPlan(
        "Qwen3ForCausalLM", _ENGLISH, ("wiki-excerpt",), lambda: _language_model(models.qwen3)
    ),
    "llava-tiny": TrainingPlan(
        "LlavaForConditionalGeneration (CLIP vision tower, Llama decoder)",
        _QUESTIONS,
        _VISION_TASKS,
        lambda: _vision_language_model(
            llava_processor(question_answering.texts()), models.llava, 10000, 1500, 0
        ),
    ),
    "qwen2.5-vl-tiny": TrainingPlan(
        "Qwen2_5_VLForConditionalGeneration",
        _QUESTIONS,
        _VISION_TASKS,
        lambda: _vision_language_model(
            qwen_processor(question_answering.texts()), models.qwen2_5_vl, 6500, 800, 1500
        ),
    ),
}
