"""Small compressed models of every family, dtype, method and form, and how to save them."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from functools import cache
from typing import NamedTuple, get_args

import torch

from harness.algebra.ranks import Junction
from harness.calibration.prompts import draw_prompts
from harness.compression.compressor import compressors
from harness.compression.job import CompressionJob
from harness.compression.pipeline import compress_model
from harness.models.generation import encode
from harness.models.prompt import PromptSource
from harness.plugins.options import configure
from harness.records.spec import CalibrationSpec
from tests.helpers.tiny_models import (
    MODELS,
    random_calibration,
    random_model,
    train_tokenizer,
    wrap,
)
from tests.helpers.tiny_vision_models import PROMPTS, VISION_MODELS, tiny_vision_model

DTYPES = ("float32", "bfloat16", "float16")
JUNCTIONS = get_args(Junction)
CALIBRATION = random_calibration()
TEXT = CalibrationSpec(text="random", samples=6, length=16)
QUESTIONS = CalibrationSpec(text="questions", samples=5, length=None, sampling="prompts")


class Case(NamedTuple):
    family: str
    dtype: str
    method: str
    junction: Junction
    scope: str = "language"
    bias_update: str = "auto"
    neurons: str = "true"
    ranks: str = "uniform"  # so that the MLP loses neurons
    multiple: str = "1"

    def __str__(self) -> str:
        return "-".join(self)


NARROW = [
    Case(family, "float32", "twinroot", "block-identity", neurons="only")
    for family in ("opt", "llama", "qwen2", "qwen3", "llava", "qwen2_5_vl")
]
"""Blocks of one width."""


def _cases() -> list[Case]:
    """Every pair of family and dtype, of method and junction, of tower and junction."""
    junctions = itertools.cycle(JUNCTIONS)
    cases = [Case(f, d, "latentllm", next(junctions)) for f in MODELS for d in DTYPES]
    cases += [Case("llama", "float32", m, j) for m in compressors.names() for j in JUNCTIONS]
    cases += [
        Case(f, d, "latentllm", next(junctions), "all") for f in VISION_MODELS for d in DTYPES
    ]
    cases += [Case("qwen2_5_vl", "float32", "asvd-rootcov", j, "vision") for j in JUNCTIONS]
    cases += [Case("llama", "float32", "svd", "left", bias_update="always")]
    cases += [Case("opt", "float16", "twinroot", "block-identity")]
    cases += [Case("qwen2_5_vl", "float32", "twinroot", "block-identity", "all")]
    cases += [Case("qwen3", "bfloat16", "asvd-l2", "block-identity", bias_update="never")]
    return cases + NARROW


CASES = list(dict.fromkeys(_cases()))


def subject_of(family, dtype="float32"):
    """As loading gives it, with rotary frequencies in float32 whatever the dtype."""
    kind = getattr(torch, dtype)
    if family in VISION_MODELS:
        subject = tiny_vision_model(family, kind)
    else:
        subject = wrap(random_model(family, kind), train_tokenizer())
    made = subject.model
    opened = type(made).from_pretrained(
        None, config=made.config, state_dict=made.state_dict(), dtype=kind
    )
    return replace(subject, model=opened)


def compressed(case, ratio=0.3):
    """A copy of its own of what is compressed once."""
    once = _compressed(case, ratio)
    return replace(once, model=copy.deepcopy(once.model))


@cache
def _compressed(case, ratio):
    subject = subject_of(case.family, case.dtype)
    if case.family in VISION_MODELS:
        source = PromptSource("questions", PROMPTS, "0" * 64)
        calibration = draw_prompts(source, subject, QUESTIONS)
    else:
        calibration = replace(CALIBRATION, spec=TEXT)
    compressor = compressors.get(case.method)
    options = {"junction": case.junction, "bias_update": case.bias_update}
    if case.method == "twinroot":
        options |= {"neurons": case.neurons, "ranks": case.ranks, "multiple": case.multiple}
    return compress_model(
        subject,
        CompressionJob(
            case.method,
            compressor,
            configure(compressor.config, options, case.method),
            ratio,
            calibration,
            scope=case.scope,
        ),
    )


def inputs_of(subject):
    if subject.processor is not None:
        return encode(subject, PROMPTS)
    return {"input_ids": CALIBRATION.input_ids}


@torch.no_grad()
def logits(subject):
    return subject.model(**inputs_of(subject)).logits
