"""Writing a trained model as ``from_pretrained`` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel


def put(model: PreTrainedModel, tools: Any, folder: Path) -> None:
    """Write a model in float16, with its tokenizer or processor, as ``from_pretrained`` reads it.

    Args:
        model: in float32; becomes float16.
        tools: its tokenizer or processor.
        folder: made if absent.
    """
    model.half().save_pretrained(folder)
    tools.save_pretrained(folder)
