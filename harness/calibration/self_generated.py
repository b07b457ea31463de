"""Text that a model writes by itself: calibration that costs no data.

Williams, Chrysostomou and Aletras, "Self-calibration for language model quantization and pruning"
(arXiv 2410.17170). It is drawn as the model predicts, without a temperature or a cut, so that it
stands for all that the model has learned and not for one corpus.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from harness.errors import NonFiniteError
from harness.support.progress import Tracker


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    first: Tensor,
    length: int,
    generator: torch.Generator,
    *,
    batch_size: int,
    track: Tracker,
) -> Tensor:
    """One sequence behind each token of ``first: [samples]``.

    Args:
        model: a causal language model; special tokens are tokens to it like any other.
        first: token ids, on the CPU.
        length: tokens of a sequence, the first included.
        generator: of the draws, on the CPU.
        batch_size: sequences written at a time.
        track: progress, a step a token.

    Returns:
        Token ids, ``[samples, length]``, on the CPU.

    Raises:
        NonFiniteError: a prediction is NaN or infinite.
    """
    parts = first.split(batch_size)
    steps = (token for part in parts for token in _next_tokens(model, part, length, generator))
    tokens = list(track(steps, "writing", len(parts) * length))
    rows = [torch.stack(tokens[at : at + length], 1) for at in range(0, len(tokens), length)]
    return torch.cat(rows)


def _next_tokens(
    model: PreTrainedModel, first: Tensor, length: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """The next token of each sequence, ``[samples]``, ``length`` times."""
    token, cache = first, DynamicCache(config=model.config)
    yield token
    for _ in range(length - 1):
        ids = token[:, None].to(model.device)
        logits = model(input_ids=ids, past_key_values=cache, use_cache=True).logits[:, -1]
        p = logits.float().softmax(-1).cpu()
        if not bool(torch.isfinite(p).all()):
            raise NonFiniteError("what the model predicts while it writes is NaN or infinite")
        token = torch.multinomial(p, 1, generator=generator)[:, 0]
        yield token
