"""Talk to a model: turns in, answers out while they form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from transformers import LogitsProcessorList, TextStreamer

from harness.errors import UsageError
from harness.models.chat_template import render
from harness.models.generation import NoNaN, generation_settings
from harness.models.language_model import LanguageModel


@dataclass
class Conversation:
    """Turns of a user and a model in the model's own chat template.

    A model without a template continues each text on its own.

    Attributes:
        subject: the model, dense or compressed.
        system: what it is told first, None for nothing.
        max_new_tokens: an answer ends there.
        temperature: of sampling, 0 for the most probable answer.
    """

    subject: LanguageModel
    system: str | None = None
    max_new_tokens: int = 512
    temperature: float = 0.0
    _turns: list[dict[str, Any]] = field(default_factory=list)
    _images: list[Image] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clear()

    @property
    def has_template(self) -> bool:
        """Whether the model takes part in conversations; else it continues texts."""
        return (self.subject.processor or self.subject.tokenizer).chat_template is not None

    def clear(self) -> None:
        """Start anew."""
        self._images = []
        self._turns = [self._turn("system", self.system)] if self.system else []

    @torch.no_grad()
    def answer(self, text: str, show: Callable[[str], None], images: Sequence[Image] = ()) -> str:
        """The answer to ``text`` and ``images``, whose pieces go to ``show`` as they form.

        Interrupted, it keeps what was said until then as the answer.

        Raises:
            NonFiniteError: the model gives NaN as scores of a token.
            UsageError: the conversation is longer than the model reads, or it sees no images.
        """
        if images and self.subject.processor is None:
            raise UsageError(f"{self.subject.asset.reference} reads text only, it sees no images")
        turns = [*self._turns, self._turn("user", text, len(images))]
        all_images = [*self._images, *images]
        inputs = self._inputs(text, turns, all_images)
        max_new_tokens = self._max_new_tokens(inputs["input_ids"].shape[1])
        pieces: list[str] = []

        def emit(piece: str) -> None:
            pieces.append(piece)
            show(piece)

        settings: dict[str, Any] = {"do_sample": self.temperature > 0}
        if self.temperature > 0:
            settings["temperature"] = self.temperature
        model: Any = self.subject.model
        try:
            with generation_settings(self.subject, max_new_tokens=max_new_tokens, **settings):
                model.generate(
                    **inputs,
                    streamer=_Streamer(self.subject.tokenizer, emit),
                    logits_processor=LogitsProcessorList([NoNaN()]),
                )
        finally:
            if pieces:
                self._turns = [*turns, self._turn("assistant", "".join(pieces).strip())]
                self._images = all_images
        return "".join(pieces)

    def _turn(self, role: str, text: str, images: int = 0) -> dict[str, Any]:
        if self.subject.processor is None:
            return {"role": role, "content": text}
        content = [{"type": "image"}] * images + [{"type": "text", "text": text}]
        return {"role": role, "content": content}

    def _inputs(
        self, text: str, turns: list[dict[str, Any]], images: list[Image]
    ) -> dict[str, Tensor]:
        reader: Any = self.subject.processor or self.subject.tokenizer
        extra: dict[str, Any] = {"images": images} if images else {}
        if self.has_template:
            text = render(reader, turns, self.subject.asset.reference, answers=True)
            extra["add_special_tokens"] = False  # the template wrote them already
        inputs = reader(text=[text], return_tensors="pt", **extra)
        model = self.subject.model
        return {
            name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else None)
            for name, tensor in inputs.items()
        }

    def _max_new_tokens(self, length: int) -> int:
        config = self.subject.model.config.get_text_config(decoder=True)
        context = getattr(config, "max_position_embeddings", None)
        max_new_tokens = (
            self.max_new_tokens if context is None else min(self.max_new_tokens, context - length)
        )
        if max_new_tokens < 1:
            raise UsageError(
                f"the conversation has {length} tokens, the model reads {context}; "
                "start anew with /clear, or say less"
            )
        return max_new_tokens


class _Streamer(TextStreamer):
    """Hands on whole words of the answer instead of printing them."""

    def __init__(self, tokenizer: Any, show: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.show = show

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:  # noqa: ARG002
        if text:
            self.show(text)
