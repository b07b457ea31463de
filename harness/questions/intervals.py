"""Standard errors and 95% confidence intervals of mean scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist, fmean, stdev

from scipy.stats import binomtest

Interval = Callable[[Sequence[float]], tuple[float, float] | None]

Z = NormalDist().inv_cdf(0.975)


def standard_error(scores: Sequence[float]) -> float | None:
    """Standard error of the mean; None for a single score."""
    return stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else None


def wilson(outcomes: Sequence[float]) -> tuple[float, float]:
    """Wilson's interval of the share of ones among outcomes that are 0 or 1.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    right = sum(map(bool, outcomes))
    interval = binomtest(right, len(outcomes)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def normal(scores: Sequence[float]) -> tuple[float, float] | None:
    """The normal approximation, clipped to what a share can be; None for a single score."""
    error = standard_error(scores)
    if error is None:
        return None
    mean = fmean(scores)
    return max(0.0, mean - Z * error), min(1.0, mean + Z * error)
