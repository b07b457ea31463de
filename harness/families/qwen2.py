"""Qwen2 and Qwen2.5: Llama's layout with biases on query, key and value."""

from __future__ import annotations

from dataclasses import replace

from harness.families import llama

family = replace(llama.family, model_type="qwen2")
