"""Tests and intervals of the mean of paired differences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import optimize, special, stats

from harness.records.observations import Numbers


@dataclass(frozen=True)
class PairedDifferences:
    """Differences of pairs, ``values: [n]``, and what each counts in the mean, ``weights: [n]``.

    ``binary`` says that they are differences of scores that are all 0 or 1 and count the same.
    Those get McNemar's exact test, and the interval of Tango (1998), which stays honest where few
    or no answers change; a bootstrap of these would have no width. All else gets the t test and
    interval of the mean difference: with the few windows of a short text it covers what it says,
    which bootstrap percentiles do not. With unequal weights the mean is a ratio and its error that
    of the ratio, to first order. Neighbouring windows of a text are taken as independent.
    """

    values: Numbers
    weights: Numbers
    binary: bool

    @cached_property
    def mean(self) -> float:
        """The weighted mean."""
        return float(np.average(self.values, weights=self.weights))

    @cached_property
    def stderr(self) -> float | None:
        """Standard error of the mean, None for a single pair."""
        n = len(self.values)
        if n == 1:
            return None
        if not np.ptp(self.values):  # rounding would leave a trace
            return 0.0
        residuals = self.weights * (self.values - self.mean)
        return float(np.sqrt(n / (n - 1) * (residuals**2).sum()) / self.weights.sum())

    @property
    def changed(self) -> int:
        """Pairs whose values differ."""
        return int(np.count_nonzero(self.values))

    @cached_property
    def p_value(self) -> float:
        """Two-sided; 1 where nothing differs."""
        return self._mcnemar() if self.binary else self._t_test()

    def interval(self, confidence: float) -> tuple[float, float] | None:
        """Of the mean, None for a single pair."""
        return self._tango(confidence) if self.binary else self._student(confidence)

    def _student(self, confidence: float) -> tuple[float, float] | None:
        """Student's interval of the mean, None for a single pair."""
        if self.stderr is None:
            return None
        half = float(stats.t.ppf((1 + confidence) / 2, len(self.values) - 1)) * self.stderr
        return self.mean - half, self.mean + half

    def _t_test(self) -> float:
        """Two-sided p-value of the paired t test."""
        n = len(self.values)
        if not self.stderr:
            # No spread to test against: what is left is that all signs agree.
            return 2.0 ** (1 - n) if self.values.any() else 1.0
        return float(2 * stats.t.sf(abs(self.mean) / self.stderr, n - 1))

    def _discordant(self) -> tuple[int, int]:
        return int((self.values > 0).sum()), int((self.values < 0).sum())

    def _mcnemar(self) -> float:
        """Two-sided p-value of McNemar's exact test, for scores of 0 and 1."""
        gained, lost = self._discordant()
        # Both tails of a fair coin are alike; they overlap where neither side leads.
        return min(1.0, 2 * float(special.bdtr(min(gained, lost), gained + lost, 0.5)))

    def _tango(self, confidence: float) -> tuple[float, float] | None:
        """Score interval of Tango, Statistics in Medicine 17 (1998), 891-908."""
        n, (gained, lost) = len(self.values), self._discordant()
        if n == 1:
            return None
        z = float(stats.norm.ppf((1 + confidence) / 2))

        def score(delta: float) -> float:
            middle = (2 * n + lost - gained) * delta - gained - lost
            constant = -lost * delta * (1 - delta)
            root = math.sqrt(max(middle * middle - 8 * n * constant, 0.0))
            nuisance = (root - middle) / (4 * n)
            variance = n * (2 * nuisance + delta * (1 - delta))
            distance = gained - lost - n * delta
            return distance / math.sqrt(variance) if variance > 0 else math.copysign(1e9, distance)

        edge = 1 - 1e-12
        low = -1.0 if score(-edge) < z else optimize.brentq(lambda d: score(d) - z, -edge, edge)
        high = 1.0 if score(edge) > -z else optimize.brentq(lambda d: score(d) + z, -edge, edge)
        return float(low), float(high)
