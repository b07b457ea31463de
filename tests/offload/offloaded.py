"""Small models on disk, opened both ways and compressed alike."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch

from harness.calibration.prompts import draw_prompts
from harness.checkpoints.load import load_model
from harness.compression.compressor import compressors
from harness.compression.job import CompressionJob
from harness.compression.pipeline import compress_model
from harness.models.generation import encode
from harness.models.prompt import PromptSource
from harness.plugins.options import configure
from harness.records.spec import CalibrationSpec
from tests.helpers.tiny_models import opt, random_calibration, random_model, train_tokenizer
from tests.helpers.tiny_vision_models import PROMPTS, VISION_MODELS, tiny_vision_model

CALIBRATION = replace(
    random_calibration(), spec=CalibrationSpec(text="random", samples=6, length=16)
)
QUESTIONS = CalibrationSpec(text="questions", samples=5, length=None, sampling="prompts")


class Case(NamedTuple):
    family: str
    method: str
    junction: str
    propagation: str
    scope: str = "language"

    def __str__(self) -> str:
        return "-".join(self)


CASES = [
    Case("opt", "latentllm", "block-identity", "sequential"),
    Case("opt-350m", "asvd-rootcov", "left", "original"),
    Case("llama", "latentllm", "block-identity", "original"),
    Case("llama", "svd", "symmetric", "sequential"),
    Case("qwen3", "latentllm", "block-identity", "sequential"),
    Case("qwen3", "asvd-l1", "block-identity", "original"),
    Case("llava", "latentllm", "block-identity", "sequential", "all"),
    Case("qwen2_vl", "latentllm", "block-identity", "original", "all"),
    Case("qwen2_vl", "asvd-rootcov", "left", "sequential", "vision"),
]


def write(family, folder):
    """A float32 model in shards of about a block."""
    if family in VISION_MODELS:
        subject = tiny_vision_model(family, torch.float32)
        model, companion = subject.model, subject.processor
    elif family == "opt-deep":
        torch.manual_seed(0)
        model, companion = opt(num_hidden_layers=6), train_tokenizer()
    else:
        model, companion = random_model(family, torch.float32), train_tokenizer()
    model.save_pretrained(folder, max_shard_size=40_000)
    companion.save_pretrained(folder)
    return folder


def in_memory(folder):
    return load_model(str(folder))


def opened(folder):
    return load_model(str(folder), offload=True)


def compress(case, subject, staging=None):
    if subject.processor is not None:
        source = PromptSource("questions", PROMPTS, "0" * 64)
        calibration = draw_prompts(source, subject, QUESTIONS)
    else:
        calibration = CALIBRATION
    compressor = compressors.get(case.method)
    options = {"junction": case.junction, "propagation": case.propagation}
    return compress_model(
        subject,
        CompressionJob(
            case.method,
            compressor,
            configure(compressor.config, options, case.method),
            0.3,
            calibration,
            scope=case.scope,
            batch_size=4,
        ),
        block_checkpoints=staging,
    )


def inputs(subject):
    if subject.processor is not None:
        return encode(subject, PROMPTS)
    return {"input_ids": CALIBRATION.input_ids}


@torch.no_grad()
def logits(subject):
    return subject.model(**inputs(subject)).logits
