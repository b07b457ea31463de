"""Qwen2-VL: a tower with fused qkv and planar rotary embedding before a Qwen2 decoder.

The decoder's rotary embedding has three axes (time, row, column); a token of text advances on
all three alike, so that its frequencies serve as those of one axis.
"""

from __future__ import annotations

from harness.families import llava
from harness.families.family import Family
from harness.families.stack import Stack
from harness.layers.fused import Part

vision = Stack(
    blocks="model.visual.blocks",
    layers={
        "query": Part("attn.qkv", 0, 3),
        "key": Part("attn.qkv", 1, 3),
        "value": Part("attn.qkv", 2, 3),
        "output": "attn.proj",
        "up": "mlp.fc1",
        "down": "mlp.fc2",
    },
    activation="hidden_act",
    config="vision_config",
    padded=False,
    rotary="model.visual.rotary_pos_emb",
    planar=True,
)

family = Family("qwen2_vl", llava.language, vision)
