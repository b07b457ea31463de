"""Qwen2.5-VL: Qwen2-VL with a gated MLP in the tower."""

from __future__ import annotations

from dataclasses import replace

from harness.families import qwen2_vl

family = replace(
    qwen2_vl.family,
    model_type="qwen2_5_vl",
    vision=replace(
        qwen2_vl.vision,
        layers={
            **qwen2_vl.vision.layers,
            "gate": "mlp.gate_proj",
            "up": "mlp.up_proj",
            "down": "mlp.down_proj",
        },
        width="intermediate_size",
    ),
)
