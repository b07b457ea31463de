"""Qwen2 and Qwen2.5: Llama's layout with biases on query, key and value."""

from __future__ import annotations

from harness.families import llama
from harness.families.family import Family

family = Family("qwen2", llama.language)
