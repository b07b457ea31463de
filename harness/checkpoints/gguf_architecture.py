"""What llama.cpp calls an architecture, what it wants to know of it, how it orders rows."""

from __future__ import annotations

import gguf
from torch import Tensor

from harness.checkpoints.ordinary import OrdinaryModel
from harness.errors import UsageError
from harness.families.family import Family

_ARCHITECTURES = ("llama", "qwen2", "qwen3")
_UNEQUAL = "deci"
"""llama.cpp's Llama with a number of neurons for each block."""
_ROTATES_PAIRS = ("llama", _UNEQUAL)
"""Architectures that rotate neighbours, where transformers rotates the halves of a head."""


def architecture_of(family: Family, ordinary: OrdinaryModel) -> str:
    """llama.cpp's name for the architecture.

    Raises:
        UsageError: it has none, or would compute something else.
    """
    kind, config = family.model_type, ordinary.model.config
    if kind not in _ARCHITECTURES:
        raise UsageError(
            f"models of type '{kind}' cannot be written as GGUF, only "
            f"{', '.join(_ARCHITECTURES)} can; pass --dense"
        )
    rotary = config.rope_parameters
    unlike = {
        "scaled rotary positions": rotary.get("rope_type", "default") != "default",
        "attention to a window": {*(getattr(config, "layer_types", None) or ())}
        - {"full_attention"},
        f"the activation '{config.hidden_act}'": config.hidden_act != "silu",
    }
    if reasons := [what for what, there in unlike.items() if there]:
        raise UsageError(f"a model with {reasons[0]} cannot be written as GGUF; pass --dense")
    if len(widths := {*ordinary.widths}) == 1:
        return kind
    if family.language.query_norm:
        raise UsageError(
            f"the blocks have {min(widths)} to {max(widths)} neurons, which llama.cpp runs without "
            f"norms of queries and keys alone, and a {kind} model has them; pass --dense, or "
            "compress with --ranks uniform"
        )
    return _UNEQUAL


def add_architecture(writer: gguf.GGUFWriter, family: Family, ordinary: OrdinaryModel) -> None:
    """Write sizes and constants of the model into the metadata."""
    config = ordinary.model.config
    widths = [*ordinary.widths]
    first, *_ = family.blocks(ordinary.model)
    head = first.weights(ordinary.model).attention.head_size
    writer.add_block_count(len(widths))
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(widths if len({*widths}) > 1 else widths[0])
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def in_order(name: str, values: Tensor, ordinary: OrdinaryModel, architecture: str) -> Tensor:
    """The tensor called ``name`` in the file, with rows as ``architecture`` rotates them."""
    config = ordinary.model.config
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    layer = name.split(".")[-2]
    if architecture not in _ROTATES_PAIRS or layer not in heads:
        return values
    halves = values.unflatten(0, (heads[layer], 2, -1))
    return halves.transpose(1, 2).reshape(values.shape)
