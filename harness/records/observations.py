"""What the headline metric of a result is taken over, sample by sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import NonFiniteError
from harness.records.results import Metric, Sample, TaskResult

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
        ids = tuple(self.ids[position] for position in order)
        return Observations(
            self.metric,
            self.unit,
            self.higher_is_better,
            self.logarithmic,
            ids,
            self.values[order],
            self.weights[order],
        )


def observe(result: TaskResult, metric: Metric | None = None) -> Observations | Unpaired:
    """The observations behind a metric.

    A metric that its samples' mean does not reproduce (a corpus score, a mean of tasks' means)
    has none.

    Args:
        result: what a task returned.
        metric: one of its metrics, by default the headline; of a slice, the samples that say they
            belong to it count.

    Raises:
        NonFiniteError: a sample's value is NaN or infinite.
    """
    headline = metric or result.metrics[0]
    samples = [s for s in result.samples if headline.slice is None or headline.slice in s.slices]
    if len({sample.id for sample in samples}) < len(samples):
        return Unpaired("two samples have the same id")
    filtered = headline.name.rpartition(": ")[2].partition(" (")[0]
    key = filtered.partition("[")[0]
    candidates = {
        sample.id: _weighted(sample, filtered if filtered in sample.values else key)
        for sample in samples
    }
    pairs = {name: pair for name, pair in candidates.items() if pair is not None}
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
    observations = Observations(
        headline.name,
        headline.unit,
        headline.higher_is_better,
        logarithmic,
        tuple(pairs),
        values,
        weights,
    )
    if len(pairs) != headline.n or not math.isclose(
        observations.value, headline.value, rel_tol=1e-6
    ):
        return Unpaired(f"{headline.name} is not the mean of its {len(pairs)} samples")
    return observations


def _weighted(sample: Sample, key: str) -> tuple[float, float] | None:
    """A sample's value of the metric and its weight, None where it has none."""
    values = sample.values
    if key in values:
        return values[key], 1.0
    if f"{key}.loglikelihood" in values:
        weight = values[f"{key}.weight"]
        return (-values[f"{key}.loglikelihood"] / weight if weight else math.nan), weight
    # Each window counts the same in token perplexity, and all are of one length.
    if key.startswith("perplexity_token@") and {"nll", "tokens"} <= values.keys():
        return values["nll"], values["tokens"]
    # Questions have one score, named by what it is (correct); ``observe`` checks that the
    # headline is its mean.
    return (next(iter(values.values())), 1.0) if len(values) == 1 else None
