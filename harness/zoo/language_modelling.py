"""Language modelling on the training part of the Wikipedia excerpt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from harness.assets.texts import resolve_text
from harness.datasets.deterministic import seeded_random

TEXT = "wiki-excerpt"
VOCABULARY = 2048
WINDOW = 512
END = "</s>"
VALIDATION_SHARE = 0.05


def documents() -> tuple[list[str], list[str]]:
    """Documents to train on and to validate on, both from the part that may be trained on."""
    texts = resolve_text(TEXT, "calibration").documents
    room = VALIDATION_SHARE * sum(map(len, texts))
    held_out = 0
    while sum(map(len, texts[len(texts) - held_out - 1 :])) <= room:
        held_out += 1
    return list(texts[: len(texts) - held_out]), list(texts[len(texts) - held_out :])


def tokenizer_of(texts: Iterable[str], vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """A byte-level BPE of ``texts`` that adds no special tokens of its own."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        bos_token=END,
        pad_token=END,
        clean_up_tokenization_spaces=False,
    )


class LanguageModelling:
    """Windows of the text in a new order, and newly cut, in every pass over it."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        trained: Sequence[str],
        held_out: Sequence[str],
        batch_size: int,
        seed: int,
        window: int = WINDOW,
    ) -> None:
        self._tokens = _tokens(tokenizer, trained)
        self._held_out = _cut(_tokens(tokenizer, held_out), window)
        self._batch_size = batch_size
        self._window = window
        self._seed = seed
        # One window fewer than fit, so that every shift gives as many.
        self.steps_per_pass = (len(self._tokens) // window - 1) // batch_size

    def losses(self, model: nn.Module, step: int) -> Iterable[Tensor]:
        """Cross-entropy of the windows of ``step``."""
        yield _loss(model, self.windows(step))

    def windows(self, step: int) -> Tensor:
        """Token ids ``[batch, window]`` of ``step``."""
        epoch, position = divmod(step, self.steps_per_pass)
        rng = seeded_random(self._seed, epoch)
        shift = rng.randrange(self._window)
        windows = _cut(self._tokens[shift:], self._window)
        order = list(range(len(windows)))
        rng.shuffle(order)
        chosen = order[position * self._batch_size : (position + 1) * self._batch_size]
        return windows[chosen]

    @torch.no_grad()
    def validate(self, model: nn.Module) -> dict[str, float]:
        """Mean cross-entropy of the held-out windows."""
        batches = self._held_out.split(self._batch_size)
        losses = [_loss(model, batch).item() * len(batch) for batch in batches]
        return {"loss": sum(losses) / len(self._held_out)}


def _tokens(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> Tensor:
    return torch.tensor(tokenizer("\n\n".join(texts), verbose=False)["input_ids"])


def _cut(tokens: Tensor, window: int) -> Tensor:
    return tokens[: len(tokens) // window * window].view(-1, window)


def _loss(model: Any, windows: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=windows, use_cache=False).logits
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), windows[:, 1:].flatten())
