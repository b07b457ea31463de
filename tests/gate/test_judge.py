"""Thresholds and verdicts, against simulations and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import NonFiniteError, UsageError
from harness.gate.accept import accepted
from harness.gate.baseline import Baseline, baseline_text, read_baseline
from harness.gate.calibrate import between_draws, calibrated
from harness.gate.judge import judge
from tests.gate.records import LOSSES, SEEDS, accuracy, draws, perplexity, shifted

BASELINE = calibrated(draws())


def verdict(record, baseline=BASELINE):
    return judge(baseline, [record] if record else [])


def test_a_new_draw_stays_below_the_threshold_in_all_cells_together():
    random = np.random.default_rng(2)
    cells, count, spread = 13, 8, 0.02
    alarms = 0
    for _ in range(1500):
        old = random.normal(0, spread, (cells, count))
        limits = [between_draws(float(np.std(cell, ddof=1)), count, 0.01 / cells) for cell in old]
        fresh = random.normal(0, spread, cells)
        alarms += bool((np.abs(fresh - old[:, 0]) > limits).any())
    # The threshold assumes two draws independent of the spread; one of them is part of it.
    assert alarms / 1500 < 0.01


def test_the_baseline_is_the_draw_of_the_smallest_seed_and_knows_its_spread():
    (cell,) = BASELINE.cells
    levels = [math.log(record.result.metrics[0].value) for record in draws()]
    assert cell.value == pytest.approx(draws()[0].result.metrics[0].value)
    assert cell.spread == pytest.approx(np.std(levels, ddof=1), rel=1e-3)
    assert cell.draws == len(SEEDS)
    assert cell.minimum == 0.01 < cell.suspicious
    assert calibrated(draws(0.05)).cells[0].minimum > 0.1


@pytest.mark.parametrize(
    ("by", "noise", "outcome"),
    [
        (0.0, 0.0, "pass"),
        (0.002, 0.005, "pass"),
        (0.05, 0.01, "fail"),
        (0.011, 0.02, "inconclusive"),
        (-0.01, 0.001, "pass"),
        (-0.2, 0.01, "fail"),
    ],
)
def test_losses_and_gains_that_matter_fail(by, noise, outcome):
    judged = verdict(perplexity(shifted(by, noise, seed=3)))
    assert judged.outcome == outcome
    assert judged.exit_code(strict=False) == (outcome == "fail")
    assert judged.exit_code(strict=True) == (outcome != "pass")
    low, high = judged.cells[0].interval
    assert low <= judged.cells[0].loss <= high


@given(st.floats(-0.3, 0.3), st.floats(0, 0.1))
def test_a_failure_needs_proof_and_a_pass_rules_a_loss_out(by, noise):
    (cell,) = verdict(perplexity(shifted(by, noise, seed=4))).cells
    low, high = cell.interval
    if cell.outcome == "fail":
        assert low > cell.minimum or high < -BASELINE.cells[0].suspicious
    if cell.outcome == "pass":
        assert high <= cell.minimum
    if cell.outcome == "inconclusive":
        assert low <= cell.minimum < high


def test_accuracies_lose_where_answers_go_wrong():
    right = [1.0] * 90 + [0.0] * 10
    baseline = calibrated([accuracy(right, seed) for seed in SEEDS])
    assert judge(baseline, [accuracy(right)]).outcome == "pass"
    assert judge(baseline, [accuracy([0.0] * 60 + right[60:])]).outcome == "fail"
    assert judge(baseline, [accuracy([0.0] * 3 + right[3:])]).outcome == "inconclusive"
    (better,) = judge(baseline, [accuracy([1.0] * 100)]).cells
    assert better.loss == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (None, "there is no candidate"),
        (perplexity(LOSSES[:-1]), "sample counts differ"),
        (perplexity(LOSSES, data_fingerprint="other"), "the data differ"),
        (perplexity(LOSSES, status="failed", error="out of memory"), "failed: out of memory"),
        (perplexity(LOSSES, skipped=1, status="incomplete"), "incomplete"),
    ],
)
def test_what_is_missing_or_not_comparable_fails(candidate, reason):
    judged = verdict(candidate)
    assert judged.outcome == "fail"
    assert reason in judged.cells[0].reason


def test_other_ids_another_metric_and_another_size_fail():
    candidate = perplexity(LOSSES)
    result = candidate.result
    renamed = [sample.model_copy(update={"id": f"x{sample.id}"}) for sample in result.samples]
    other_ids = result.model_copy(update={"samples": tuple(renamed)})
    metric = result.metrics[0].model_copy(update={"name": "perplexity_token@512"})
    other_metric = result.model_copy(update={"metrics": (metric,)})
    larger = candidate.compression.model_copy(update={"parameters": 2})
    for change in ({"result": other_ids}, {"result": other_metric}, {"compression": larger}):
        (cell,) = verdict(candidate.model_copy(update=change)).cells
        assert cell.outcome == "fail", change


def test_a_value_that_is_not_finite_fails_its_cell():
    candidate = perplexity(LOSSES)
    first, *rest = candidate.result.samples
    broken = first.model_copy(update={"values": {"nll": math.nan, "tokens": 255.0}})
    result = candidate.result.model_copy(update={"samples": (broken, *rest)})
    judged = verdict(candidate.model_copy(update={"result": result}))
    assert judged.outcome == "fail"
    assert "not finite" in judged.cells[0].reason
    with pytest.raises(NonFiniteError):
        calibrated([record.model_copy(update={"result": result}) for record in draws()])


def test_a_cell_without_baseline_is_told_but_does_not_fail():
    judged = judge(BASELINE, [perplexity(LOSSES), perplexity(LOSSES, ratio=0.7)])
    assert [cell.outcome for cell in judged.cells] == ["pass", "new"]
    assert judged.outcome == "pass"


def test_of_several_records_of_a_cell_the_newest_counts():
    old = perplexity(shifted(1.0), created="2026-01-01T00:00:00Z")
    new = perplexity(LOSSES, created="2026-01-02T00:00:00Z")
    assert judge(BASELINE, [new, old]).outcome == "pass"


def test_other_weights_are_compared_and_told():
    (cell,) = verdict(perplexity(LOSSES, fingerprint="w" * 40)).cells
    assert cell.outcome == "pass"
    assert "other weights" in cell.reason


def test_a_single_sample_is_inconclusive():
    baseline = calibrated([perplexity([3.0], seed) for seed in SEEDS])
    assert judge(baseline, [perplexity([3.5])]).outcome == "inconclusive"


@pytest.mark.parametrize(
    ("records", "part"),
    [
        ([], "no records"),
        (draws()[:2], "2 calibration seeds"),
        ([perplexity(LOSSES, status="failed", error="boom")], "failed (boom)"),
    ],
)
def test_a_baseline_needs_complete_records_and_enough_draws(records, part):
    with pytest.raises(UsageError) as caught:
        calibrated(records)
    assert part in str(caught.value)


def test_accepting_keeps_the_thresholds():
    baseline = accepted(BASELINE, [perplexity(shifted(0.5))])
    (old,), (new,) = BASELINE.cells, baseline.cells
    assert new.value == pytest.approx(old.value * math.exp(0.5))
    assert (new.minimum, new.spread, new.draws) == (old.minimum, old.spread, old.draws)
    assert judge(baseline, [perplexity(shifted(0.5))]).outcome == "pass"
    assert judge(baseline, [perplexity(LOSSES)]).outcome == "fail"
    with pytest.raises(UsageError, match="no cell"):
        accepted(BASELINE, [perplexity(LOSSES, ratio=0.7)])


def test_a_baseline_file_reads_back_and_shows_each_cell_on_few_lines(tmp_path):
    path = tmp_path / "gate.json"
    two = calibrated([*draws(), *(accuracy([1.0, 0.0] * 20, seed) for seed in SEEDS)])
    path.write_text(baseline_text(two), encoding="utf-8")
    assert read_baseline(path) == two
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda text: text[:-40], "no sound baseline"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "version"),
        (lambda text: text.replace('"minimum": 0.01', '"minimum": 0'), "minimum"),
        (lambda text: text.replace('"values": [', '"values": [1,'), "number of values"),
    ],
)
def test_a_damaged_baseline_is_refused(tmp_path, damage, part):
    path = tmp_path / "gate.json"
    path.write_text(damage(baseline_text(BASELINE)), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_baseline(path)
    assert part in str(caught.value)


def test_two_cells_of_one_specification_are_no_baseline():
    with pytest.raises(ValueError, match="same specification"):
        Baseline(samples=BASELINE.samples, cells=BASELINE.cells * 2)
