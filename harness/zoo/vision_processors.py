"""Tokenizer, chat template and image processor of our vision-language models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessorPil,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2VLImageProcessorPil,
)

from harness.datasets.drawing import SIDE
from harness.models.processors import ImagesOnlyQwenProcessor

VOCABULARY = 1024
# Words in capital letters are read letter by letter and numbers digit by digit; the
# instructions, always the same, and the marks of the choices become one token each.
_PIECES = Regex(r"Answer [a-z' ]+\.|\n[A-E]\.| ?[A-Z]?[a-z]+| ?[A-Z]| ?[0-9]|\s| ?[^\sA-Za-z0-9]")
_NORMALISED: dict[str, Any] = {
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
    "do_convert_rgb": True,
}

_PARTS = (
    "{% for item in message['content'] %}{% if item['type'] == 'image' %}@IMAGE@"
    "{% else %}{{ item['text'] }}{% endif %}{% endfor %}"
)
_LLAVA_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>"
    + _PARTS.replace("@IMAGE@", "<image>")
    + "{% if message['role'] == 'assistant' %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    + _PARTS.replace("@IMAGE@", "<|vision_start|><|image_pad|><|vision_end|>")
    + "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def llava_processor(texts: Iterable[str]) -> ProcessorMixin:
    """16 image tokens a picture, one for each 16 x 16 patch."""
    tokenizer = _tokenizer(
        texts, end="</s>", pad="<pad>", others=["<|user|>", "<|assistant|>", "<image>"]
    )
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"height": SIDE, "width": SIDE},
            crop_size={"height": SIDE, "width": SIDE},
            **_NORMALISED,
        ),
        tokenizer=tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_LLAVA_TEMPLATE,
    )


def qwen_processor(texts: Iterable[str]) -> ProcessorMixin:
    """16 image tokens a picture, one for each 2 x 2 patches of 8 x 8."""
    tokenizer = _tokenizer(
        texts,
        end="<|im_end|>",
        pad="<|endoftext|>",
        others=[
            "<|im_start|>",
            "<|vision_start|>",
            "<|vision_end|>",
            "<|image_pad|>",
            "<|video_pad|>",
        ],
    )
    return ImagesOnlyQwenProcessor(
        image_processor=Qwen2VLImageProcessorPil(
            size={"shortest_edge": SIDE * SIDE, "longest_edge": SIDE * SIDE},
            patch_size=8,
            merge_size=2,
            temporal_patch_size=2,
            **_NORMALISED,
        ),
        tokenizer=tokenizer,
        chat_template=_QWEN_TEMPLATE,
    )


def _tokenizer(
    texts: Iterable[str], end: str, pad: str, others: list[str]
) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_PIECES, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[end, pad, *others],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=end,
        pad_token=pad,
        additional_special_tokens=others,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
