"""What a processor does to 64 x 64 pictures and their questions, done for a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from harness.datasets.drawing import SIDE
from harness.models.prompt import Prompt

TOKENS = 16
"""Image tokens of a picture."""


def encode(processor: Any, examples: Sequence[Prompt]) -> dict[str, Tensor]:
    """The inputs of a batch of prompts with answers, padded on the left."""
    texts = [_conversation(processor, prompt) for prompt in examples]
    inputs = processor.tokenizer(
        texts, padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt"
    )
    encoded = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
    pictures = [picture for prompt in examples for picture in prompt.images]
    if hasattr(processor.image_processor, "merge_size"):
        encoded["mm_token_type_ids"] = (encoded["input_ids"] == processor.image_token_id).long()
    return encoded | (pixels_of(processor, pictures) if pictures else {})


def pixels_of(processor: Any, pictures: Sequence[Image]) -> dict[str, Tensor]:
    """The inputs that stand for ``pictures``."""
    pixels = _pixels(pictures)
    merged = getattr(processor.image_processor, "merge_size", None)
    if merged is None:
        return {"pixel_values": pixels}
    side = processor.image_processor.patch_size
    cells = SIDE // side
    return {
        "pixel_values": _patches(pixels, side, merged),
        "image_grid_thw": torch.tensor([[1, cells, cells]] * len(pictures)),
    }


def _conversation(processor: Any, prompt: Prompt) -> str:
    content = [{"type": "image"} for _ in prompt.images] + [{"type": "text", "text": prompt.text}]
    messages = [
        {"role": "user", "content": content},
        {"role": "assistant", "content": [{"type": "text", "text": prompt.answer}]},
    ]
    text: str = processor.apply_chat_template(messages, tokenize=False)
    return text.replace(processor.image_token, processor.image_token * TOKENS)


def _pixels(pictures: Sequence[Image]) -> Tensor:
    """Pictures as ``[n, 3, 64, 64]`` from -1 to 1."""
    stacked = np.stack([np.asarray(picture) for picture in pictures])
    pixels = torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()
    return (pixels.float() * (1 / 255) - 0.5) / 0.5


def _patches(pixels: Tensor, side: int, merged: int) -> Tensor:
    """Rows ``[n * patches, 3 * 2 * side * side]`` in Qwen's order: merged patches together."""
    count, groups = len(pixels), SIDE // side // merged
    parts = pixels.view(count, 3, groups, merged, side, groups, merged, side)
    parts = parts.permute(0, 2, 5, 3, 6, 1, 4, 7)
    twice = parts.unsqueeze(6).expand(*parts.shape[:6], 2, side, side)
    return twice.reshape(count * groups * groups * merged * merged, -1)
