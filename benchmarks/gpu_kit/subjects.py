"""The models: published shapes, or tiny ones of the same families, with random weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LlamaConfig,
    OPTConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2_5_VLConfig,
)

from harness.compression.compressor import compressors
from harness.families.family import Family
from harness.plugins.options import configure
from harness.profile.known import configuration
from harness.profile.measure import materialised
from harness.profile.skeleton import shapes_of, skeleton
from harness.records.spec import Dtype
from harness.runtime.streamline import streamline

RATIOS = (0.2, 0.4, 0.6, 0.8)
FORMS: Mapping[str, tuple[str, dict[str, Any], bool]] = {
    "block identity, streamlined": ("latentllm", {}, True),
    "block identity": ("latentllm", {}, False),
    "plain factors": ("asvd-rootcov", {"junction": "left"}, False),
}
"""A method, its options, and whether the model is streamlined."""


def llama_3_8b() -> PretrainedConfig:
    return LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=8192,
        rope_theta=500000.0,
        tie_word_embeddings=False,
    )


def tiny_opt() -> PretrainedConfig:
    return OPTConfig(
        vocab_size=600,
        hidden_size=64,
        word_embed_proj_dim=64,
        ffn_dim=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=256,
    )


TINY_GATED = {
    "vocab_size": 600,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}


def tiny_llama() -> PretrainedConfig:
    return LlamaConfig(**TINY_GATED)


def tiny_qwen2_5_vl() -> PretrainedConfig:
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 10000.0}
    return Qwen2_5_VLConfig(
        text_config={**TINY_GATED, "rope_parameters": rope},
        vision_config={
            "depth": 1,
            "num_heads": 3,
            "hidden_size": 24,
            "intermediate_size": 40,
            "out_hidden_size": 64,
            "fullatt_block_indexes": [0],
        },
        image_token_id=10,
        video_token_id=11,
        vision_start_token_id=12,
        vision_end_token_id=13,
    )


@dataclass(frozen=True)
class Subject:
    """A model's shapes; ``taken`` of its blocks are made."""

    name: str
    config: Callable[[], PretrainedConfig]
    taken: int | None = None

    def cut(self, blocks: int) -> Subject:
        return Subject(self.name, self.config, blocks)

    @property
    def blocks(self) -> str:
        return self._cut()[1]

    def dense(
        self, device: torch.device, dtype: Dtype = "bfloat16"
    ) -> tuple[PreTrainedModel, Family]:
        subject = skeleton(self._cut()[0], dtype)
        return materialised(subject, {}, device), subject.family

    def compressed(
        self, form: str, ratio: float, device: torch.device, dtype: Dtype = "bfloat16"
    ) -> tuple[PreTrainedModel, Family]:
        name, options, quick = FORMS[form]
        plugin = compressors.get(name)
        subject = skeleton(self._cut()[0], dtype)
        configured = configure(plugin.config, options, name)
        shapes = shapes_of(subject, name, plugin, configured, ratio, "language")
        model = materialised(subject, shapes, device)
        return (streamline(model, subject.family) if quick else model), subject.family

    def _cut(self) -> tuple[PretrainedConfig, str]:
        config = copy.deepcopy(self.config())
        text: Any = config.get_text_config()
        whole = text.num_hidden_layers
        taken = min(self.taken or whole, whole)
        text.num_hidden_layers = taken
        if getattr(text, "layer_types", None):
            text.layer_types = text.layer_types[:taken]
        return config, f"{taken} of {whole}"


def subjects(*, tiny: bool) -> list[Subject]:
    if tiny:
        return [
            Subject("opt, tiny", tiny_opt),
            Subject("llama, tiny", tiny_llama),
            Subject("qwen2.5-vl, tiny", tiny_qwen2_5_vl),
        ]
    return [
        Subject("opt-6.7b", lambda: configuration("facebook/opt-6.7b")),
        Subject("llama-3-8b", llama_3_8b),
        Subject("qwen2.5-vl-7b", lambda: configuration("Qwen/Qwen2.5-VL-7B-Instruct")),
    ]


def smallest(*, tiny: bool) -> Subject:
    """What can be compressed whole in the time."""
    if tiny:
        return Subject("llama, tiny", tiny_llama)
    return Subject("smollm2-135m", lambda: configuration("smollm2-135m"))


def tokens(model: PreTrainedModel, batch: int, length: int) -> Tensor:
    """Random ids of ordinary tokens, ``[batch, length]``, on the model's device."""
    rows = model.get_input_embeddings().weight.shape[0]
    generator = torch.Generator().manual_seed(0)
    return torch.randint(20, min(rows, 50000), (batch, length), generator=generator).to(
        model.device
    )
