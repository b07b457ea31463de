"""Two results on the same samples, compared sample by sample.

The difference of two models on one text is far less noisy than either perplexity, because both
find the same passages hard. All functions are pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from harness.records.observations import Observations, Unpaired, observe
from harness.records.paired_differences import PairedDifferences
from harness.records.results import TaskResult


@dataclass(frozen=True)
class Paired:
    """How the second of two results differs from the first.

    Attributes:
        metric, unit, higher_is_better: of both results.
        logarithmic: whether ``effect`` is the logarithm of the ratio of two perplexities, which
            is their relative change where that is small; else it is a difference of means.
        n: pairs; ``changed``: pairs whose values differ.
        effect: second minus first.
        stderr: its standard error, None for a single pair.
        interval: of the effect at ``confidence``, None for a single pair.
        p_value: two-sided; 1 where nothing differs or there is a single pair.
    """

    metric: str
    unit: str
    higher_is_better: bool
    logarithmic: bool
    n: int
    changed: int
    effect: float
    stderr: float | None
    interval: tuple[float, float] | None
    confidence: float
    p_value: float

    @property
    def loss(self) -> float:
        """The effect as a loss: positive is worse."""
        return -self.effect if self.higher_is_better else self.effect

    @property
    def loss_interval(self) -> tuple[float, float] | None:
        """``interval`` of the loss."""
        if self.interval is None or not self.higher_is_better:
            return self.interval
        low, high = self.interval
        return -high, -low


def compare(a: TaskResult, b: TaskResult, confidence: float = 0.95) -> Paired | Unpaired:
    """How ``b`` differs from ``a`` in the headline metric.

    Raises:
        NonFiniteError: a sample's value is NaN or infinite.
    """
    first, second = observe(a), observe(b)
    if isinstance(first, Unpaired):
        return first
    return second if isinstance(second, Unpaired) else compare_observed(first, second, confidence)


def compare_observed(
    a: Observations, b: Observations, confidence: float = 0.95
) -> Paired | Unpaired:
    """``compare`` for observations; see ``PairedDifferences`` for the tests."""
    differences = paired_differences(a, b)
    if isinstance(differences, Unpaired):
        return differences
    return Paired(
        metric=a.metric,
        unit=a.unit,
        higher_is_better=a.higher_is_better,
        logarithmic=a.logarithmic,
        n=len(a.ids),
        changed=differences.changed,
        effect=differences.mean,
        stderr=differences.stderr,
        interval=differences.interval(confidence),
        confidence=confidence,
        p_value=differences.p_value,
    )


def paired_differences(a: Observations, b: Observations) -> PairedDifferences | Unpaired:
    """Those of ``b`` from ``a``, or why the two cannot be paired."""
    if obstacle := _obstacle(a, b):
        return Unpaired(obstacle)
    if a.ids != b.ids:
        a, b = a.by_id(), b.by_id()
    binary = bool(np.isin([a.values, b.values], (0, 1)).all()) and not np.ptp(a.weights)
    return PairedDifferences(b.values - a.values, a.weights, binary)


def detectable(n: int, spread: float, confidence: float = 0.95) -> float:
    """The smallest mean difference that a paired test finds in 80% of all cases.

    Args:
        n: pairs.
        spread: standard deviation of one pair's difference.
        confidence: of the test's two-sided interval.
    """
    if n < 2:
        return math.inf
    quantiles: Any = stats.t.ppf([(1 + confidence) / 2, 0.8], n - 1)
    return float(quantiles.sum()) * spread / math.sqrt(n)


def _obstacle(a: Observations, b: Observations) -> str | None:
    if a.metric != b.metric:
        return f"the metrics differ: {a.metric} and {b.metric}"
    if a.unit != b.unit:
        return f"the units differ: {a.unit} and {b.unit}"
    if len(a.ids) != len(b.ids):
        return f"the sample counts differ: {len(a.ids)} and {len(b.ids)}"
    if a.ids != b.ids:
        if different := set(a.ids) ^ set(b.ids):
            return f"the sample ids differ: {min(different)} is in one only"
        a, b = a.by_id(), b.by_id()
    if not np.array_equal(a.weights, b.weights):
        return "the samples' lengths differ"
    return None
