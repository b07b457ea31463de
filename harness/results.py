"""What a task returns: metrics that say what they are, and the samples behind them."""

from __future__ import annotations

from harness.schema import Document


class Metric(Document):
    """One number with all that is needed to compare it.

    ``name`` carries the protocol where protocols differ (``perplexity_token@2048``).
    ``stderr`` is the standard error of ``value`` (None where it is not defined), ``n`` the
    number of ``unit`` (windows, documents, questions) it is taken over.
    """

    name: str
    value: float
    stderr: float | None
    n: int
    unit: str
    higher_is_better: bool


class Sample(Document):
    """One evaluated unit: its stable id and its own values, for paired comparisons."""

    id: str
    values: dict[str, float]


class TaskResult(Document):
    """Everything one evaluation gave; the first metric is the task's headline."""

    metrics: tuple[Metric, ...]
    samples: tuple[Sample, ...]
    batch_size: int
