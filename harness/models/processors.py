"""Processors: what turns images and text into the inputs of a vision-language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import (
    AutoProcessor,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    Qwen2_5_VLProcessor,
)


class ImagesOnlyQwenProcessor(Qwen2_5_VLProcessor):
    """Qwen's processor without its video half, which cannot be built without torchvision."""

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        chat_template: str | None = None,
        **_: Any,
    ) -> None:
        assert tokenizer is not None
        self.image_token = "<|image_pad|>"  # noqa: S105
        self.video_token = "<|video_pad|>"  # noqa: S105
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    def to_dict(self) -> dict[str, Any]:
        """As it is saved: under the name of the whole processor, which others can load."""
        return super().to_dict() | {"processor_class": Qwen2_5_VLProcessor.__name__}


_IMAGES_ONLY = {"qwen2_vl": ImagesOnlyQwenProcessor, "qwen2_5_vl": ImagesOnlyQwenProcessor}


def load_processor(folder: Path, config: PretrainedConfig) -> ProcessorMixin:
    """The processor saved in ``folder``, with images prepared by PIL.

    PIL and torchvision give slightly different pixels; with PIL everywhere a result does not
    depend on whether torchvision is installed.
    """
    opener: Any = _IMAGES_ONLY.get(config.model_type, AutoProcessor)
    processor: ProcessorMixin = opener.from_pretrained(
        folder, backend="pil", trust_remote_code=False, local_files_only=True
    )
    return processor


def image_processor_name(processor: ProcessorMixin | None) -> str | None:
    """Class that prepares the images, whose backend decides the last digits of their pixels."""
    return type(processor.image_processor).__name__ if processor else None
