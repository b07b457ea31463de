"""What a task returns: metrics that say what they are, and the samples behind them."""

from __future__ import annotations

from typing import Literal

from harness.records.document import Document

Effect = Literal["changes the number", "advice"]
"""What something seen during a measurement means to who reads its number."""


class Metric(Document):
    """One number with all that is needed to compare it.

    ``name`` carries the protocol where protocols differ (``perplexity_token@2048``).
    ``stderr`` is the standard error of ``value`` (None where it is not defined), ``interval``
    its 95% confidence interval, ``n`` the number of ``unit`` (windows, documents, questions) it
    is taken over. ``slice`` names the part of the data it is about, None for the whole.
    Accuracies are shares between 0 and 1.
    """

    name: str
    value: float
    stderr: float | None
    n: int
    unit: str
    higher_is_better: bool
    slice: str | None = None
    interval: tuple[float, float] | None = None


class Sample(Document):
    """One evaluated unit: its stable id and its own values, for paired comparisons.

    ``answer`` is what the model said, where it says something; ``slices`` are the parts of the
    data that it belongs to, by the names that metrics use.
    """

    id: str
    values: dict[str, float]
    answer: str | None = None
    slices: tuple[str, ...] = ()


class Skipped(Document):
    """A unit that could not be evaluated, and why."""

    id: str
    reason: str


class Caution(Document):
    """Something seen during a measurement that a reader of its number must know.

    ``kind`` names it alike in all records, ``count`` says how often it was seen, and ``text`` is
    the whole in one line. A number that was changed is compared only with others that were changed
    by the same kinds as often.
    """

    kind: str
    effect: Effect
    count: int
    text: str

    def __str__(self) -> str:
        return f"{self.effect}: {self.text}"


class TaskResult(Document):
    """Everything one evaluation gave; the first metric is the task's headline.

    Where something was skipped the result is incomplete, and so is its record. ``cautions`` are
    empty where nothing was seen, or nobody looked.
    """

    metrics: tuple[Metric, ...]
    samples: tuple[Sample, ...]
    batch_size: int
    skipped: tuple[Skipped, ...] = ()
    cautions: tuple[Caution, ...] = ()
