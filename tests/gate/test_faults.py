"""Real faults put into real compressions of a real model: what the gate makes of them."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

import harness.algebra.preconditioners
import harness.compression.local
import harness.layers.junction
from harness.algebra.preconditioners import Preconditioner, damped
from harness.experiments.plan import make_plan
from harness.experiments.request import Request
from harness.experiments.runner import run_plan
from harness.gate.baseline import Baseline, observed
from harness.gate.calibrate import calibrated
from harness.gate.judge import compared, judge
from harness.records.observations import Observations
from harness.records.paired_tests import compare_observed
from harness.records.record import RunRecord
from harness.records.spec import CalibrationSpec, TaskSpec

# Eight calibrated compressions of a real model, and one more for each fault.
pytestmark = pytest.mark.slow
DRAWS = range(6)
UNSEEN = (6, 7)
RESAMPLINGS = 200
MODULES = (
    "argparse asyncio.base_events calendar collections csv datetime decimal difflib email.message "
    "enum functools heapq inspect itertools json logging os pathlib random shutil socket "
    "statistics string subprocess tarfile textwrap threading turtle unittest zipfile"
)


def _english() -> list[str]:
    """Prose that every Python brings along: its documentation strings."""
    texts = []
    for name in MODULES.split():
        module = importlib.import_module(name)
        documented = [module, *(vars(module)[member] for member in sorted(vars(module)))]
        texts += [" ".join((inspect.getdoc(thing) or "").split()) for thing in documented]
    return [text for text in dict.fromkeys(texts) if len(text) > 200]


@pytest.fixture(scope="module")
def measure(tmp_path_factory, one_thread):
    folder = tmp_path_factory.mktemp("texts")
    prose = _english()
    evaluation, calibration = folder / "evaluation.txt", folder / "calibration.txt"
    evaluation.write_text("\n".join(prose[::2]), encoding="utf-8")
    calibration.write_text("\n".join(prose[1::2]), encoding="utf-8")

    def measure(seed: int = 0, method: str = "asvd-rootcov", **changes) -> RunRecord:
        request = Request(
            model="builtin:opt-tiny",
            methods={method: {"junction": "block-identity"}},
            ratios=(0.5,),
            tasks=(
                TaskSpec(name="wikitext2", data=str(evaluation), limit=24, options={"window": 256}),
            ),
            calibration=CalibrationSpec(text=str(calibration), samples=16, length=256, seed=seed),
            output=tmp_path_factory.mktemp("records"),
            **changes,
        )
        plan = make_plan(request)
        return run_plan(replace(plan, variants=plan.variants[1:]))[0]

    return measure


@pytest.fixture(scope="module")
def draws(measure) -> list[RunRecord]:
    return [measure(seed) for seed in (*DRAWS, *UNSEEN)]


@pytest.fixture(scope="module")
def baseline(draws) -> Baseline:
    return calibrated(draws[: len(DRAWS)])


def one_cell(baseline, record):
    (cell,) = judge(baseline, [record]).cells
    return cell


def test_the_same_again_passes(baseline, measure):
    assert one_cell(baseline, measure()).reason == "the same to the last sample"


def test_the_wrong_sign_in_a_preconditioner_is_caught(baseline, measure, monkeypatch):
    def inverse(C, damping):
        return Preconditioner(torch.linalg.inv(damped(C, damping)))

    monkeypatch.setattr(harness.algebra.preconditioners, "root_covariance", inverse)
    cell = one_cell(baseline, measure())
    assert (cell.outcome, "proven" in cell.reason) == ("fail", True)


def test_a_dropped_bias_is_caught(baseline, measure, monkeypatch):
    monkeypatch.setattr(harness.compression.local, "updated_bias", lambda *_: None)
    cell = one_cell(baseline, measure())
    assert (cell.outcome, "proven" in cell.reason) == ("fail", True)


def test_a_rank_off_by_a_tenth_is_caught_by_its_size(baseline, measure, monkeypatch):
    right = harness.compression.local.rank_for
    monkeypatch.setattr(harness.compression.local, "rank_for", lambda *of: int(0.9 * right(*of)))
    cell = one_cell(baseline, measure())
    assert (cell.outcome, "parameters instead of" in cell.reason) == ("fail", True)
    # The numbers alone would not have shown it: that is why the size is looked at.
    assert cell.interval[0] < cell.minimum


def test_noise_that_costs_nothing_passes(baseline, measure, monkeypatch):
    right = harness.compression.local.best_product
    random = torch.Generator().manual_seed(0)

    def noisy(W, *rest):
        return right(W * (1 + 0.01 * torch.randn(W.shape, generator=random, dtype=W.dtype)), *rest)

    monkeypatch.setattr(harness.compression.local, "best_product", noisy)
    cell = one_cell(baseline, measure())
    assert (cell.outcome, cell.loss != 0) == ("pass", True)


def _unpivoted(M):
    r = M.shape[1]
    places = torch.arange(len(M))
    return places[:r], places[r:], torch.linalg.solve(M[:r].T, M[r:].T).T


def test_a_junction_without_pivoting_passes_where_it_does_no_harm(baseline, measure, monkeypatch):
    monkeypatch.setattr(harness.layers.junction, "interpolation_rows", _unpivoted)
    cell = one_cell(baseline, measure())
    assert (cell.outcome, cell.loss != 0) == ("pass", True)


def test_a_change_of_the_seed_alone_is_no_failure(baseline, draws):
    reference = draws[0]
    for record in draws[len(DRAWS) :]:
        same_cell = record.model_copy(update={"spec": reference.spec})
        cell = one_cell(baseline, same_cell)
        assert cell.outcome != "fail"
        assert cell.loss != 0


def test_false_alarms_are_below_one_percent(baseline, draws):
    """Draws that calibration has not seen, over texts drawn anew: nothing is worse."""
    (cell,) = baseline.cells
    random = np.random.default_rng(0)
    kept = baseline.observations(cell)
    alarms = 0
    for turn in range(RESAMPLINGS):
        fresh = observed(draws[len(DRAWS) + turn % len(UNSEEN)])
        drawn = random.integers(0, len(kept.ids), len(kept.ids))
        paired = compare_observed(
            _resampled(kept, drawn), _resampled(fresh, drawn), baseline.confidence
        )
        alarms += compared(cell, paired)[0] == "fail"
    assert alarms / RESAMPLINGS < 0.01


def _resampled(seen: Observations, drawn: np.ndarray) -> Observations:
    return replace(
        seen,
        ids=tuple(str(place) for place in range(len(drawn))),
        values=seen.values[drawn],
        weights=seen.weights[drawn],
    )
