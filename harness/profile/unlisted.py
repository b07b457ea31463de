"""Architectures of the paper that have a shape here but no family to run methods on.

The parts of a fused projection have the right sizes, which is all that counts here; BLOOM
interleaves theirs by head, so that these are not the rows of its queries, keys and values.
"""

from __future__ import annotations

from dataclasses import replace

from transformers import PretrainedConfig

from harness.families import llama
from harness.families.family import Family, families, family_of
from harness.families.stack import Stack
from harness.layers.fused import Part

_bloom = Stack(
    blocks="transformer.h",
    layers={
        "query": Part("self_attention.query_key_value", 0, 3),
        "key": Part("self_attention.query_key_value", 1, 3),
        "value": Part("self_attention.query_key_value", 2, 3),
        "output": "self_attention.dense",
        "up": "mlp.dense_h_to_4h",
        "down": "mlp.dense_4h_to_h",
    },
    activation="model_type",  # its configuration names none
)

_phi3 = replace(
    llama.language,
    layers={
        "query": Part("self_attn.qkv_proj", 0, 3),
        "key": Part("self_attn.qkv_proj", 1, 3),
        "value": Part("self_attn.qkv_proj", 2, 3),
        "output": "self_attn.o_proj",
        "gate": Part("mlp.gate_up_proj", 0, 2),
        "up": Part("mlp.gate_up_proj", 1, 2),
        "down": "mlp.down_proj",
    },
)

_roberta = Stack(
    blocks="encoder.layer",
    layers={
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "output": "attention.output.dense",
        "up": "intermediate.dense",
        "down": "output.dense",
    },
    activation="hidden_act",
)

_vit = Stack(
    blocks="layers",
    layers={
        "query": "attention.q_proj",
        "key": "attention.k_proj",
        "value": "attention.v_proj",
        "output": "attention.o_proj",
        "up": "mlp.fc1",
        "down": "mlp.fc2",
    },
    activation="hidden_act",
)

ENCODERS = frozenset({"roberta", "vit"})
"""Model types without output head and cache."""

_UNLISTED = {
    "bloom": Family("bloom", _bloom),
    "gemma": Family("gemma", llama.language),
    "phi3": Family("phi3", _phi3),
    "roberta": Family("roberta", _roberta),
    "vit": Family("vit", _vit),
}


def profiled_family(config: PretrainedConfig) -> Family:
    """Where the blocks of a model are.

    Raises:
        UsageError: neither a family nor this module says so.
    """
    if config.model_type not in families.names() and config.model_type in _UNLISTED:
        return _UNLISTED[config.model_type]
    return family_of(config)
