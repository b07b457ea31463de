"""LLaVA 1.5: a CLIP tower in front of a decoder in Llama's layout (Vicuna, Mistral, Qwen2)."""

from __future__ import annotations

from dataclasses import replace

from harness.families import llama
from harness.families.family import Family
from harness.families.stack import Stack

language = replace(
    llama.language,
    blocks="model.language_model.layers",
    config="text_config",
    rotary="model.language_model.rotary_emb",
)

clip = Stack(
    blocks="model.vision_tower.encoder.layers",
    layers={
        "query": "self_attn.q_proj",
        "key": "self_attn.k_proj",
        "value": "self_attn.v_proj",
        "output": "self_attn.out_proj",
        "up": "mlp.fc1",
        "down": "mlp.fc2",
    },
    activation="hidden_act",
    width="intermediate_size",
    config="vision_config",
    padded=False,
)

family = Family("llava", language, clip)
