"""The architectures of our small models: real ones of transformers, narrow and fully used."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
)

# Models as narrow as these learn little at first from weights of the usual 0.02.
INITIALIZER_RANGE = 0.06


def opt(vocabulary: int, end: int) -> PreTrainedModel:
    """OPT: learned positions, biases, ReLU, one head per 32 dimensions."""
    config = OPTConfig(
        vocab_size=vocabulary,
        hidden_size=192,
        word_embed_proj_dim=192,
        ffn_dim=768,
        num_hidden_layers=4,
        num_attention_heads=6,
        max_position_embeddings=512,
        dropout=0.1,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    return OPTForCausalLM(config)


def qwen3(vocabulary: int, end: int) -> PreTrainedModel:
    """Qwen3: rotary positions, norms on query and key heads, three query heads per key head."""
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    model = Qwen3ForCausalLM(config)
    for block in model.model.layers:
        add_dropout(block.self_attn.o_proj, 0.1)
        add_dropout(block.mlp, 0.1)
    add_dropout(model.model.embed_tokens, 0.1)
    return model


def add_dropout(module: nn.Module, share: float) -> None:
    """Drop a ``share`` of a module's output during training, where the architecture has none."""

    def drop(module: nn.Module, _: object, output: Tensor) -> Tensor:
        return functional.dropout(output, share, training=module.training)

    module.register_forward_hook(drop)


def parameters(model: nn.Module) -> int:
    """Number of parameters, shared ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def llava(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """LLaVA: CLIP's vision tower, two-layer projector, Llama."""
    ends = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.eos_token_id}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=96,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=3,
            projection_dim=96,
            image_size=64,
            patch_size=16,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=320,
            num_hidden_layers=6,
            num_attention_heads=4,
            num_key_value_heads=4,
            initializer_range=INITIALIZER_RANGE,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            **ends,
        ),
        image_token_index=_id(tokenizer, "<image>"),
        image_seq_length=16,
        vision_feature_layer=-1,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    projector = model.model.multi_modal_projector
    with torch.no_grad():
        for layer in (projector.linear_1, projector.linear_2):
            layer.weight.normal_(0, 0.1)
        # Else a patch hardly knows at first where it is.
        model.model.vision_tower.embeddings.position_embedding.weight.normal_(0, 0.3)
    return model


def qwen2_5_vl(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Qwen2.5-VL: vision tower with rotary positions and merged patches, Qwen2 decoder."""
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 160,
            "num_heads": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 64,
            "out_hidden_size": 128,
            "fullatt_block_indexes": [0, 1],
            "initializer_range": INITIALIZER_RANGE,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "intermediate_size": 320,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "initializer_range": INITIALIZER_RANGE,
            "tie_word_embeddings": True,
            "bos_token_id": tokenizer.eos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [4, 6, 6],
            },
        },
        image_token_id=_id(tokenizer, "<|image_pad|>"),
        video_token_id=_id(tokenizer, "<|video_pad|>"),
        vision_start_token_id=_id(tokenizer, "<|vision_start|>"),
        vision_end_token_id=_id(tokenizer, "<|vision_end|>"),
        tie_word_embeddings=True,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    token_id = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(token_id, int)
    return token_id
