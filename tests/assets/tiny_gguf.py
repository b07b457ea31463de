"""Writes small GGUF files as llama.cpp's converter would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

HEADS, KV_HEADS, HEAD, HIDDEN, MLP, LAYERS = 4, 2, 8, 32, 64, 2
TOKENS = ["<|end|>", "<|start|>", *sorted(ByteLevel.alphabet()), "he", "ll", "Ġhe", "12"]
MERGES = ["h e", "l l", "Ġ he", "1 2"]


def random_model(model_type: str, *, tied: bool) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model_type,
        vocab_size=len(TOKENS),
        hidden_size=HIDDEN,
        intermediate_size=MLP,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=HEAD,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": 50000.0},
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


def write_gguf(
    path: Path,
    model: PreTrainedModel,
    *,
    matrices: str = "F32",
    pre: str = "gpt-2",
    extra: str | None = None,
    scaling: str | None = None,
) -> Path:
    kind = model.config.model_type
    writer = gguf.GGUFWriter(path, kind)
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(50000.0)
    writer.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    writer.add_vocab_size(len(TOKENS))
    if scaling:
        writer.add_rope_scaling_type(gguf.RopeScalingType(scaling))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3] + [1] * (len(TOKENS) - 2))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
    for name, values in _tensors(model):
        if values.ndim > 1 and matrices != "F32":
            quant = gguf.GGMLQuantizationType[matrices]
            writer.add_tensor(name, gguf.quantize(values, quant), raw_dtype=quant)
        else:
            writer.add_tensor(name, values)
    if extra:
        writer.add_tensor(extra, np.ones(HEAD // 2, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(model: PreTrainedModel) -> list[tuple[str, Any]]:
    arch = next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == model.config.model_type)
    names = gguf.get_tensor_name_map(arch, LAYERS)
    tensors = []
    for name, parameter in model.named_parameters():
        values = parameter.detach().numpy()
        if model.config.model_type == "llama" and "q_proj" in name:
            values = permuted(values, HEADS)
        if model.config.model_type == "llama" and "k_proj" in name:
            values = permuted(values, KV_HEADS)
        tensors.append((names.get_name(name, try_suffixes=(".weight", ".bias")), values))
    return tensors


def permuted(rows: Any, heads: int) -> Any:
    """As in llama.cpp's conversion script, independent of our inverse."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))
