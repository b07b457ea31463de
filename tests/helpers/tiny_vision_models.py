"""Random vision-language models with processors, made on the spot without torchvision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedModel,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)

from harness.assets.kinds import ModelAsset
from harness.families.family import family_of
from harness.models.language_model import LanguageModel
from harness.models.processors import ImagesOnlyQwenProcessor
from harness.models.prompt import Prompt
from tests.helpers.tiny_models import train_tokenizer

CHAT = (
    "{% for m in messages %}{{ m['role'].upper() }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %} "
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
SIDE = 32
PATCH = 8
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
Built = tuple[PreTrainedModel, ProcessorMixin]


def _tokenizer(*tokens: str):
    tokenizer = train_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(tokens)})
    return tokenizer


def _clip() -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=3,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=24,
    )


def llava() -> Built:
    tokenizer = _tokenizer("<image>")
    config = LlavaConfig(
        vision_config=_clip(),
        text_config=LlamaConfig(vocab_size=len(tokenizer), **TEXT),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        image_seq_length=16,
    )
    processor = LlavaProcessor(
        CLIPImageProcessorPil(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT.replace("IMAGE", "<image>\n"),
    )
    return LlavaForConditionalGeneration(config), processor


def llava_next() -> Built:
    tokenizer = _tokenizer("<image>")
    grid = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE]]
    config = LlavaNextConfig(
        vision_config=_clip(),
        text_config=LlamaConfig(vocab_size=len(tokenizer), **TEXT),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        image_grid_pinpoints=grid,
        image_seq_length=16,
    )
    processor = LlavaNextProcessor(
        LlavaNextImageProcessorPil(
            size={"shortest_edge": SIDE},
            crop_size={"height": SIDE, "width": SIDE},
            image_grid_pinpoints=grid,
        ),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT.replace("IMAGE", "<image>\n"),
    )
    return LlavaNextForConditionalGeneration(config), processor


def _qwen(config_class, model_class, **vision: object) -> Built:
    names = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    tokenizer = _tokenizer(*names)
    image, video, start, end = tokenizer.convert_tokens_to_ids(names)
    config = config_class(
        text_config=TEXT
        | {
            "vocab_size": len(tokenizer),
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [2, 1, 1],
                "rope_theta": 10000.0,
            },
        },
        vision_config={"depth": 3, "num_heads": 3, "patch_size": PATCH} | vision,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    processor = ImagesOnlyQwenProcessor(
        Qwen2VLImageProcessorPil(
            patch_size=PATCH, size={"shortest_edge": 256, "longest_edge": 64 * 64}
        ),
        tokenizer,
        chat_template=CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    return model_class(config), processor


def qwen2_vl() -> Built:
    return _qwen(
        Qwen2VLConfig, Qwen2VLForConditionalGeneration, embed_dim=24, hidden_size=32, mlp_ratio=2
    )


def qwen2_5_vl() -> Built:
    return _qwen(
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        hidden_size=24,
        intermediate_size=40,
        out_hidden_size=32,
        window_size=32,
        fullatt_block_indexes=[1],
    )


VISION_MODELS: dict[str, Callable[[], Built]] = {
    "llava": llava,
    "llava_next": llava_next,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
}


def tiny_vision_model(
    name: str, dtype: torch.dtype = torch.float64, seed: int = 0
) -> LanguageModel:
    """Every bias and norm weight matters, none is zero or one."""
    torch.manual_seed(seed)
    model, processor = VISION_MODELS[name]()
    model = model.to(dtype).eval()
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            nn.init.normal_(parameter, std=0.2)
        if "norm" in type(module).__name__.lower():
            nn.init.uniform_(module.weight, 0.5, 1.5)
    asset = ModelAsset(f"tiny-{name}", Path(), "0" * 64)
    return LanguageModel(model, processor.tokenizer, family_of(model.config), asset, processor)


def noise(seed: int, width: int = 40, height: int = 32) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


PROMPTS = (
    Prompt("the cat sat on a tree", (noise(0),), "bird"),
    Prompt("a dog ran under the house and over the river", (), "red"),
    Prompt("slow or quick", (noise(1, 48, 48), noise(2, 32, 64)), "blue"),
    Prompt("the bird", (noise(3, 64, 32),), "flew"),
    Prompt("house", (), "a tree"),
)
"""With one image, none, and two."""
