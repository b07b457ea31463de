"""Llama: SmolLM2, Vicuna and all else that uses transformers' Llama classes."""

from __future__ import annotations

from harness.families.family import Family
from harness.families.stack import Stack

language = Stack(
    blocks="model.layers",
    layers={
        "query": "self_attn.q_proj",
        "key": "self_attn.k_proj",
        "value": "self_attn.v_proj",
        "output": "self_attn.o_proj",
        "gate": "mlp.gate_proj",
        "up": "mlp.up_proj",
        "down": "mlp.down_proj",
    },
    activation="hidden_act",
    width="intermediate_size",
    rotary="model.rotary_emb",
    latent="rotated",
)

family = Family("llama", language)
