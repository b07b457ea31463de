"""Two results on the same samples, compared sample by sample.

The difference of two models on one text is far less noisy than either perplexity, because both
find the same passages hard. All functions are pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from harness.errors import NonFiniteError
from harness.records.results import Sample, TaskResult

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Unpaired:
    """Why two results cannot be compared sample by sample."""

    reason: str


@dataclass(frozen=True)
class Observations:
    """What the headline metric of a result is taken over.

    The metric is the weighted mean of ``values``, or its exponential where ``logarithmic``
    (perplexities). ``unit`` is what one value belongs to.
    """

    metric: str
    unit: str
    higher_is_better: bool
    logarithmic: bool
    ids: tuple[str, ...]
    values: Numbers
    weights: Numbers

    @property
    def value(self) -> float:
        """The headline."""
        mean = float(np.average(self.values, weights=self.weights))
        return math.exp(mean) if self.logarithmic else mean

    def by_id(self) -> Observations:
        """The same, in the order of the ids."""
        order = sorted(range(len(self.ids)), key=self.ids.__getitem__)
        ids = tuple(self.ids[place] for place in order)
        return Observations(
            self.metric,
            self.unit,
            self.higher_is_better,
            self.logarithmic,
            ids,
            self.values[order],
            self.weights[order],
        )


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
    """``compare`` for observations.

    Scores that are all 0 or 1 get McNemar's exact test, and the interval of Tango (1998), which
    stays honest where few or no answers change; a bootstrap of these would have no width. All
    else gets the t test and interval of the mean difference: with the few windows of a short
    text it covers what it says, which bootstrap percentiles do not. With unequal weights the
    mean is a ratio and its error that of the ratio, to first order. Neighbouring windows of a
    text are taken as independent.

    Raises:
        NonFiniteError: a value is NaN or infinite.
    """
    if obstacle := _obstacle(a, b):
        return Unpaired(obstacle)
    a, b = a.by_id(), b.by_id()
    spread = _Differences(b.values - a.values, a.weights)
    binary = bool(np.isin([a.values, b.values], (0, 1)).all()) and not np.ptp(a.weights)
    return Paired(
        metric=a.metric,
        unit=a.unit,
        higher_is_better=a.higher_is_better,
        logarithmic=a.logarithmic,
        n=len(a.ids),
        changed=int(np.count_nonzero(spread.values)),
        effect=spread.mean,
        stderr=spread.stderr,
        interval=spread.tango(confidence) if binary else spread.student(confidence),
        confidence=confidence,
        p_value=spread.mcnemar() if binary else spread.t_test(),
    )


def observe(result: TaskResult) -> Observations | Unpaired:
    """The observations behind the headline metric.

    A metric that its samples' mean does not reproduce (a group of tasks, a corpus score) has
    none.

    Raises:
        NonFiniteError: a sample's value is NaN or infinite.
    """
    headline = result.metrics[0]
    if len({sample.id for sample in result.samples}) < len(result.samples):
        return Unpaired("two samples have the same id")
    key = headline.name.rpartition(": ")[2].partition(" (")[0].partition("[")[0]
    found = {sample.id: _weighted(sample, key) for sample in result.samples}
    pairs = {name: pair for name, pair in found.items() if pair is not None}
    if not pairs:
        return Unpaired(f"the samples hold no values of {headline.name}")
    values, weights = np.array(list(pairs.values()), dtype=np.float64).T
    if not (np.isfinite(values).all() and np.isfinite(weights).all()):
        raise NonFiniteError(f"a sample of {headline.name} is not finite; run the cell again")
    if not weights.min() > 0:
        return Unpaired(f"a sample of {headline.name} has no length")
    logarithmic = "perplexity" in key
    if key.startswith("bits_per"):
        values = values / math.log(2)
    seen = Observations(
        headline.name,
        headline.unit,
        headline.higher_is_better,
        logarithmic,
        tuple(pairs),
        values,
        weights,
    )
    if len(pairs) != headline.n or not math.isclose(seen.value, headline.value, rel_tol=1e-6):
        return Unpaired(f"{headline.name} is not the mean of its {len(pairs)} samples")
    return seen


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


def _weighted(sample: Sample, key: str) -> tuple[float, float] | None:
    """A sample's value of the metric and its weight, None where it has none."""
    values = sample.values
    if f"{key}.loglikelihood" in values:
        weight = values[f"{key}.weight"]
        return (-values[f"{key}.loglikelihood"] / weight if weight else math.nan), weight
    if key in values:
        return values[key], 1.0
    # Each window counts the same in token perplexity, and all are of one length.
    if key.startswith("perplexity_token@") and {"nll", "tokens"} <= values.keys():
        return values["nll"], values["tokens"]
    # Questions have one score, named by what it is (correct); ``observe`` checks that the
    # headline is its mean.
    return (next(iter(values.values())), 1.0) if len(values) == 1 else None


def _obstacle(a: Observations, b: Observations) -> str | None:
    if a.metric != b.metric:
        return f"the metrics differ: {a.metric} and {b.metric}"
    if a.unit != b.unit:
        return f"the units differ: {a.unit} and {b.unit}"
    if len(a.ids) != len(b.ids):
        return f"the sample counts differ: {len(a.ids)} and {len(b.ids)}"
    if set(a.ids) != set(b.ids):
        return f"the sample ids differ: {min(set(a.ids) ^ set(b.ids))} is in one only"
    if not np.array_equal(a.by_id().weights, b.by_id().weights):
        return "the samples' lengths differ"
    return None


@dataclass(frozen=True)
class _Differences:
    """Weighted paired differences."""

    values: Numbers
    weights: Numbers

    @cached_property
    def mean(self) -> float:
        return float(np.average(self.values, weights=self.weights))

    @cached_property
    def stderr(self) -> float | None:
        n = len(self.values)
        if n == 1:
            return None
        if not np.ptp(self.values):  # rounding would leave a trace
            return 0.0
        residuals = self.weights * (self.values - self.mean)
        return float(np.sqrt(n / (n - 1) * (residuals**2).sum()) / self.weights.sum())

    def student(self, confidence: float) -> tuple[float, float] | None:
        if self.stderr is None:
            return None
        half = float(stats.t.ppf((1 + confidence) / 2, len(self.values) - 1)) * self.stderr
        return self.mean - half, self.mean + half

    def t_test(self) -> float:
        n = len(self.values)
        if not self.stderr:
            # No spread to test against: what is left is that all signs agree.
            return 2.0 ** (1 - n) if self.values.any() else 1.0
        return float(2 * stats.t.sf(abs(self.mean) / self.stderr, n - 1))

    def _discordant(self) -> tuple[int, int]:
        return int((self.values > 0).sum()), int((self.values < 0).sum())

    def mcnemar(self) -> float:
        gained, lost = self._discordant()
        if not gained + lost:
            return 1.0
        return float(stats.binomtest(gained, gained + lost).pvalue)

    def tango(self, confidence: float) -> tuple[float, float] | None:
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
