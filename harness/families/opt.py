"""OPT: learned positions, biases everywhere, ReLU; also the 350M post-norm variant."""

from __future__ import annotations

from harness.families.family import Family
from harness.families.stack import Stack

family = Family(
    "opt",
    Stack(
        blocks="model.decoder.layers",
        layers={
            "query": "self_attn.q_proj",
            "key": "self_attn.k_proj",
            "value": "self_attn.v_proj",
            "output": "self_attn.out_proj",
            "up": "fc1",
            "down": "fc2",
        },
        activation="activation_function",
        width="ffn_dim",
        latent="plain",
    ),
)
