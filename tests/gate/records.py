"""Records with samples as a gate reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.records.record import RunRecord
from harness.records.results import Metric, Sample, TaskResult
from harness.records.spec import CalibrationSpec
from tests.helpers.board_records import LETTER, make_record

TOKENS = 255.0
RANDOM = np.random.default_rng(0)
LOSSES = (3 + RANDOM.normal(0, 0.4, 40)).tolist()
SEEDS = range(8)


def with_samples(record: RunRecord, values: Sequence[float], name: str, **changes) -> RunRecord:
    """``record`` with a headline over ``values``: token losses, or 0 and 1."""
    loss = name.startswith("perplexity")
    mean = sum(values) / len(values)
    metric = Metric(
        name=name,
        value=math.exp(mean) if loss else mean,
        stderr=None,
        n=len(values),
        unit="windows" if loss else "questions",
        higher_is_better=not loss,
    )
    samples = tuple(
        Sample(
            id=str(place), values={"nll": value, "tokens": TOKENS} if loss else {"correct": value}
        )
        for place, value in enumerate(values)
    )
    result = TaskResult(metrics=(metric,), samples=samples, batch_size=8)
    return record.model_copy(update={"result": result, **changes})


def perplexity(losses: Sequence[float], seed: int = 0, **changes) -> RunRecord:
    calibration = CalibrationSpec(text="c4", samples=8, length=64, seed=seed)
    record = make_record(calibration=calibration, **changes)
    return with_samples(record, losses, "perplexity_token@256")


def accuracy(correct: Sequence[float], seed: int = 0, **changes) -> RunRecord:
    calibration = CalibrationSpec(text="c4", samples=8, length=64, seed=seed)
    record = make_record(calibration=calibration, task="scienceqa", metric=LETTER, **changes)
    return with_samples(record, correct, LETTER)


def shifted(by: float, noise: float = 0.0, seed: int = 0) -> list[float]:
    random = np.random.default_rng(seed)
    return [loss + by + noise * random.normal() for loss in LOSSES]


def draws(spread: float = 0.0005):
    random = np.random.default_rng(1)
    return [perplexity(shifted(spread * random.normal() if seed else 0, seed=seed), seed)
            for seed in SEEDS]  # fmt: skip
