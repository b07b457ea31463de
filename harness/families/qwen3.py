"""Qwen3: Llama's layout with RMS norms on each query and key head."""

from __future__ import annotations

from dataclasses import replace

from harness.families import llama
from harness.families.family import Family

family = Family(
    "qwen3",
    replace(llama.language, query_norm="self_attn.q_norm", key_norm="self_attn.k_norm"),
)
