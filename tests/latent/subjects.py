"""Compressed models with both caches, and inputs whose rows are padded on the left."""

from __future__ import annotations

from functools import cache

import torch

from harness.calibration.prompts import draw_prompts
from harness.compression.compressor import compressors
from harness.compression.job import CompressionJob
from harness.compression.pipeline import compress_model
from harness.latent.install import with_latent_cache
from harness.models.language_model import share_copy
from harness.models.prompt import PromptSource
from harness.plugins.options import configure
from harness.records.spec import CalibrationSpec
from tests.helpers.tiny_models import (
    CONTEXT,
    VOCABULARY,
    random_calibration,
    random_model,
    train_tokenizer,
    wrap,
)
from tests.helpers.tiny_vision_models import PROMPTS, tiny_vision_model

METHODS = {
    "heads": ("latentllm", {}),
    "joint-plain": ("latentllm", {"junction": "left"}),
    "identity": ("asvd-rootcov", {"junction": "block-identity"}),
    "identity-output": ("asvd-rootcov", {"junction": "block-identity-output"}),
}


def compressed(subject, calibration, method="heads", ratio=0.4):
    name, options = METHODS[method]
    compressor = compressors.get(name)
    config = configure(compressor.config, options, name)
    return compress_model(
        subject, CompressionJob(name, compressor, config, ratio, calibration, batch_size=4)
    )


@cache
def text_pair(name, method="heads", dtype=torch.float64, ratio=0.4):
    """The compressed model with the expanded and with the latent cache; not to be changed."""
    dense = wrap(random_model(name, dtype), train_tokenizer())
    plain = compressed(dense, random_calibration(), method, ratio)
    return plain, with_latent_cache(plain)


@cache
def vision_pair(name, dtype=torch.float32):
    dense = tiny_vision_model(name, dtype)
    source = PromptSource("questions", PROMPTS, "f" * 64)
    spec = CalibrationSpec(text="questions", samples=5, length=None, sampling="prompts")
    plain = compressed(dense, draw_prompts(source, dense, spec))
    return plain, with_latent_cache(plain)


def padded(rows=2, length=12, seed=3):
    """Ids and mask of a batch the first row of which begins with padding."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, VOCABULARY, (rows, length), generator=generator)
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    assert length < CONTEXT
    return {"input_ids": ids, "attention_mask": mask}


def with_attention(subject, implementation):
    """A copy of the model that attends by ``implementation``."""
    model = share_copy(subject.model)
    model.set_attn_implementation(implementation)
    return model
