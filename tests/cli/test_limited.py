"""A limited run says how small a difference it cannot see."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from scipy import stats

from harness.cli.limited import detection_limits
from harness.records.paired_tests import detectable
from harness.records.results import Metric, Sample, TaskResult
from tests.helpers.board_records import answers, dense, make_record


@pytest.mark.parametrize("n", [8, 24, 500])
def test_the_detectable_difference_is_found_in_four_of_five_cases(n):
    noncentral = stats.nct(n - 1, detectable(n, 2.0) / 2.0 * math.sqrt(n))
    power = noncentral.sf(stats.t.ppf(0.975, n - 1))
    assert power == pytest.approx(0.8, abs=0.02)


def losses(values):
    return TaskResult(
        metrics=(
            Metric(
                name="perplexity_token@32",
                value=math.exp(np.mean(values)),
                stderr=None,
                n=len(values),
                unit="windows",
                higher_is_better=False,
            ),
        ),
        samples=tuple(
            Sample(id=str(i), values={"nll": x, "tokens": 31}) for i, x in enumerate(values)
        ),
        batch_size=1,
    )


def pair(before, after, limit=8):
    reference = dense(limit=limit).model_copy(update={"result": losses(before)})
    other = make_record(limit=limit).model_copy(
        update={"result": losses(after), "reference": reference.run_id}
    )
    return [reference, other]


def test_a_limited_perplexity_says_which_factor_it_could_find():
    (text,) = detection_limits(pair([3.0, 3.2, 2.9, 3.5], [3.1, 3.6, 2.9, 4.3]))
    differences = np.array([0.1, 0.4, 0.0, 0.8])
    wanted = math.exp(detectable(4, differences.std(ddof=1)))
    assert text.startswith("latentllm at 0.3, wikitext2, 4 windows: ")
    assert float(re.search(r"a factor of (\S+)", text)[1]) == pytest.approx(wanted, rel=5e-3)


@pytest.mark.parametrize("size", [1e-1, 1e-3, 1e-6])
def test_small_factors_are_a_percentage_and_never_a_factor_of_1(size):
    differences = size * np.array([0.1, 0.2, 0.0, 0.4])
    before = np.array([3.0, 3.2, 2.9, 3.5])
    (text,) = detection_limits(pair(list(before), list(before + differences)))
    wanted = 100 * math.expm1(detectable(4, differences.std(ddof=1)))
    assert float(re.search(r"below about (\S+) % of perplexity", text)[1]) == pytest.approx(
        wanted, rel=5e-2
    )
    assert "factor" not in text


def test_differences_that_are_all_alike_are_no_measure_of_what_could_be_seen():
    (text,) = detection_limits(pair([3.0, 3.5], [3.0, 3.5]))
    assert "all differ from dense alike, which says nothing of others; raise --limit" in text


def test_a_single_window_shows_no_difference():
    (text,) = detection_limits(pair([3.0], [3.1], limit=1))
    assert "a single one shows no difference; raise --limit" in text


def test_a_whole_run_and_a_run_without_its_reference_say_nothing():
    assert not list(detection_limits(pair([3.0, 3.1], [3.2, 3.2], limit=None)))
    assert not list(detection_limits(pair([3.0, 3.1], [3.2, 3.2])[1:]))
    assert not list(detection_limits([answers(0.5, limit=3)]))
