"""The task behind every text: how its documents are joined and how much of it is read."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from harness.plugin import (
    Advice,
    Conditions,
    DataFacts,
    LanguageModel,
    Metric,
    Sample,
    TaskResult,
    UsageError,
    largest_fitting_batch,
    resolve_text,
)
from harness.plugins.ranges import require_in_range
from tasks.perplexity import cut, perplexity, perplexity_interval, window_losses

Window = Annotated[
    int,
    Field(ge=2, le=1_000_000_000),
    Advice("a window of {} tokens predicts nothing; pass --window 2"),
]


@dataclass(frozen=True)
class PerplexityConfig:
    """Options of perplexity.

    Attributes:
        window: number of tokens the model sees at once; the text is cut into so many.
    """

    window: Window = 2048

    def __post_init__(self) -> None:
        require_in_range(self)


@dataclass(frozen=True)
class ExcerptConfig(PerplexityConfig):
    """Short windows, so that an excerpt holds enough of them."""

    window: Window = 512


@dataclass(frozen=True)
class TextPerplexity:
    """Token perplexity of one text.

    Attributes:
        summary: one line for lists.
        config: the task's options.
        reference: where the text comes from.
        separator: what stands between two documents.
        cut: the documents of a plain text file; without it the file is one.
        max_documents, max_windows: the protocol reads no more than the first that many.
    """

    summary: str
    config: type[PerplexityConfig]
    reference: str
    separator: str
    max_documents: int | None = None
    max_windows: int | None = None
    cut: Callable[[str], Iterable[str]] | None = None

    def prepare(self, name: str, data: str | None, config: PerplexityConfig) -> PreparedPerplexity:  # noqa: ARG002
        """Fetch and join the text; see ``harness.evaluation.task.Task``."""
        asset = resolve_text(data or self.reference, "evaluation", self.cut)
        return PreparedPerplexity(
            data=DataFacts(
                reference=asset.reference,
                fingerprint=asset.fingerprint,
                revision=asset.revision,
                uncut=asset.uncut,
            ),
            text=self.separator.join(asset.documents[: self.max_documents]),
            window=config.window,
            max_windows=self.max_windows,
        )


def lines(text: str) -> Iterator[str]:
    """The lines of a text file as data sets are made from them, with their ends."""
    return io.StringIO(text, newline=None)


@dataclass(frozen=True)
class PreparedPerplexity:
    """A joined text at hand."""

    data: DataFacts
    text: str
    window: int
    max_windows: int | None

    def evaluate(self, subject: LanguageModel, conditions: Conditions) -> TaskResult:
        """Measure the token perplexity of ``subject``; see ``task.PreparedTask``.

        Raises:
            UsageError: the text holds no whole window, or the model cannot see one.
        """
        self._check_context(subject)
        windows = self._windows(subject.tokenizer)[: conditions.limit]
        losses, batch_size = largest_fitting_batch(
            lambda size: window_losses(subject.model, windows, size, conditions.track),
            conditions.batch_size,
        )
        value, stderr = perplexity(losses)
        metric = Metric(
            name=f"perplexity_token@{self.window}",
            value=value,
            stderr=stderr,
            n=len(losses),
            unit="windows",
            higher_is_better=False,
            interval=perplexity_interval(losses),
        )
        samples = tuple(
            Sample(id=str(index), values={"nll": loss, "tokens": self.window - 1})
            for index, loss in enumerate(losses.tolist())
        )
        return TaskResult(metrics=(metric,), samples=samples, batch_size=batch_size)

    def _check_context(self, subject: LanguageModel) -> None:
        decoder = subject.model.config.get_text_config()
        context = getattr(decoder, "max_position_embeddings", None)
        if context is not None and self.window > context:
            raise UsageError(
                f"{subject.asset.reference} sees at most {context} tokens, not {self.window}; "
                f"pass --window {context}"
            )

    def _windows(self, tokenizer: PreTrainedTokenizerBase) -> Tensor:
        # verbose=False: the text is meant to be longer than the model's context.
        tokens: Tensor = tokenizer(self.text, return_tensors="pt", verbose=False)["input_ids"][0]
        windows = cut(tokens, self.window)
        if not len(windows):
            raise UsageError(
                f"{self.data.reference} holds {tokens.numel()} tokens, less than one window of "
                f"{self.window}; pass a longer text or a smaller --window"
            )
        return windows[: self.max_windows]
