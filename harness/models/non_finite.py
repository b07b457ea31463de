"""Why a model gives NaN: its own weights, or what is computed with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

from harness.errors import NonFiniteError
from harness.models.language_model import LanguageModel

_PRECISE = (torch.float32, torch.float64)


def damaged_tensor(model: PreTrainedModel) -> str | None:
    """The first parameter in memory that holds NaN or infinity."""
    for name, tensor in model.named_parameters():
        if not tensor.is_meta and not bool(torch.isfinite(tensor).all()):
            return name
    return None


@contextmanager
def non_finite_explained(subject: LanguageModel, ratio: float = 0) -> Iterator[None]:
    """Have a ``NonFiniteError`` say whether the weights are the cause, else what may help.

    Args:
        subject: what is computed with.
        ratio: at which it will be compressed; one that is says so itself.

    Raises:
        NonFiniteError: the one of the block, explained.
    """
    try:
        yield
    except NonFiniteError as error:
        if "the model itself" in str(error):
            raise
        if subject.compression is None and (name := damaged_tensor(subject.model)):
            raise NonFiniteError(
                f"the model itself holds NaN or infinity, in {name}; fetch or copy it again"
            ) from error
        fixes = [] if subject.model.dtype in _PRECISE else ["--dtype float32"]
        if ratio > 0 or subject.compression:
            fixes.append("a smaller --ratio")
        raise NonFiniteError(f"{error}{'; try ' if fixes else ''}{' or '.join(fixes)}") from error
