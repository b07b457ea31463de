"""lm-eval's model with counts of what it does without a word, or with one nobody can count."""

from __future__ import annotations

from typing import Any

from lm_eval.models.huggingface import HFLM
from torch import Tensor

from harness.plugin import UsageError


class WatchedLM(HFLM):  # type: ignore[misc]
    """Counts inputs that are cut and answers that do not end by themselves.

    Attributes:
        cut: prompts (of written answers), or prompts with given answers, that were too long.
        unended: answers that ended at their greatest length.
        pad: what pads prompts for want of a padding token; None where the tokenizer has one.
    """

    def __init__(self, **options: Any) -> None:
        padded = options["tokenizer"].pad_token is not None
        super().__init__(**options)
        self.pad: str | None = None if padded else self.tokenizer.pad_token
        self.cut: set[Any] = set()
        self.unended = 0

    def _loglikelihood_tokens(self, requests: list[Any], **options: Any) -> Any:
        for asked, context, continuation in requests:
            if len(continuation) > self.max_length:
                raise UsageError(
                    f"an answer of {len(continuation)} tokens is longer than the {self.max_length} "
                    "that the model sees; take it out of the task's data, or pass another --model"
                )
            # Windows of a long document have no prompt, and are not cut.
            if asked and len(context) + len(continuation) > self.max_length + 1:
                self.cut.add(tuple(asked))
        return super()._loglikelihood_tokens(requests, **options)

    def tok_batch_encode(
        self,
        strings: list[str],
        padding_side: str = "left",
        left_truncate_len: int | None = None,
        truncation: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Tokens of a batch, cut on the left."""
        encoded: tuple[Tensor, Tensor] = super().tok_batch_encode(
            strings, padding_side, left_truncate_len, truncation
        )
        if left_truncate_len and encoded[0].shape[1] >= left_truncate_len:
            self.cut |= {text for text in strings if len(self.tok_encode(text)) > left_truncate_len}
        return encoded

    def _model_generate(
        self, context: Tensor, max_length: int, stop: list[str], **rest: Any
    ) -> Any:
        written = super()._model_generate(context, max_length, stop, **rest)
        new = written[:, context.shape[1] :]
        if new.shape[1] == max_length - context.shape[1]:
            self.unended += sum(not self._ended(row, stop) for row in new)
        return written

    def _ended(self, row: Tensor, stop: list[str]) -> bool:
        own = self.model.generation_config.eos_token_id
        ends = {self.eot_token_id, *(own if isinstance(own, list) else [own])}
        if not ends.isdisjoint(row.tolist()):
            return True
        text = self.tok_decode(row, skip_special_tokens=False)
        return any(end in text for end in stop)
