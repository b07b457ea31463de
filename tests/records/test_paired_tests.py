"""Paired comparisons against other libraries and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from harness.errors import NonFiniteError
from harness.records.observations import Unpaired
from harness.records.paired_tests import Paired, compare
from harness.records.results import Metric, Sample, TaskResult


def result(values, *, name="accuracy", higher=True, ids=None, tokens=None, value=None):
    key = "nll" if tokens else name
    mean = float(np.mean(values))
    samples = tuple(
        Sample(
            id=ids[i] if ids else f"q{i}",
            values={key: float(one)} | ({"tokens": tokens} if tokens else {}),
        )
        for i, one in enumerate(values)
    )
    metric = Metric(
        name=name,
        value=value if value is not None else (math.exp(mean) if tokens else mean),
        stderr=None,
        n=len(values),
        unit="windows" if tokens else "questions",
        higher_is_better=higher,
    )
    return TaskResult(metrics=(metric,), samples=samples, batch_size=1)


def perplexity(losses, **changes):
    return result(losses, name="perplexity_token@32", higher=False, tokens=31, **changes)


LOSSES = st.lists(st.floats(0.5, 8, width=32), min_size=2, max_size=40)
ANSWERS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=200)


@given(LOSSES, st.integers(0, 2**32 - 1))
def test_losses_are_compared_as_by_the_paired_t_test(losses, seed):
    after = np.array(losses) + np.random.default_rng(seed).normal(0.1, 0.3, len(losses))
    found = compare(perplexity(losses), perplexity(after))
    test = stats.ttest_rel(after, losses)
    interval = test.confidence_interval(0.95)
    assert isinstance(found, Paired)
    assert found.logarithmic
    assert found.p_value == pytest.approx(test.pvalue, rel=1e-6, abs=1e-12)
    assert found.interval == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)
    assert math.exp(found.effect) == pytest.approx(
        math.exp(np.mean(after)) / math.exp(np.mean(losses))
    )


@given(ANSWERS)
def test_answers_are_compared_as_by_mcnemars_exact_test(pairs):
    before, after = np.array(pairs, dtype=float).T
    found = compare(result(before), result(after))
    gained, lost = int((after > before).sum()), int((after < before).sum())
    wanted = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert found.p_value == pytest.approx(wanted)
    assert found.effect == pytest.approx((gained - lost) / len(pairs))
    low, high = found.interval
    assert -1 <= low <= found.effect <= high <= 1


@pytest.mark.parametrize(
    ("n", "gained", "lost"), [(50, 9, 1), (100, 3, 12), (30, 0, 4), (500, 2, 2)]
)
def test_the_interval_ends_where_the_score_test_stops_rejecting(n, gained, lost):
    before = [0] * gained + [1] * lost + [1] * (n - gained - lost)
    after = [1] * gained + [0] * lost + [1] * (n - gained - lost)
    for end in compare(result(before), result(after)).interval:
        # The share of losses that is most likely under a true difference of `end`, by search.
        def unlikelihood(share, end=end):
            shares = (share + end, share, 1 - 2 * share - end)
            counts = (gained, lost, n - gained - lost)
            return -sum(k * math.log(max(p, 1e-300)) for k, p in zip(counts, shares, strict=True))

        low, high = max(0.0, -end), (1 - end) / 2
        share = optimize.minimize_scalar(
            unlikelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-13}
        ).x
        variance = n * (2 * share + end - end**2)
        assert abs(gained - lost - n * end) / math.sqrt(variance) == pytest.approx(
            stats.norm.ppf(0.975), rel=1e-3
        )


@given(ANSWERS)
def test_the_other_way_round_has_the_opposite_effect(pairs):
    before, after = np.array(pairs, dtype=float).T
    one, other = compare(result(before), result(after)), compare(result(after), result(before))
    assert one.effect == pytest.approx(-other.effect)
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]), abs=1e-9)
    assert (one.p_value, one.changed) == (other.p_value, other.changed)


@given(LOSSES, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(losses, random):
    after = [x + 0.1 * i for i, x in enumerate(losses)]
    ids = [f"q{i}" for i in range(len(after))]
    order = random.sample(range(len(after)), len(after))
    shuffled = perplexity([after[i] for i in order], ids=[ids[i] for i in order])
    plain = compare(perplexity(losses), perplexity(after))
    assert compare(perplexity(losses), shuffled).effect == pytest.approx(plain.effect)


def test_identical_results_differ_in_nothing():
    for one in (perplexity([3.0, 4.0, 3.5]), result([0, 1, 1, 0])):
        found = compare(one, one)
        assert (found.effect, found.p_value, found.changed) == (0.0, 1.0, 0)


def test_a_loss_is_positive_where_things_are_worse():
    worse_text = compare(perplexity([3.0, 3.1]), perplexity([3.2, 3.4]))
    worse_answers = compare(result([1, 1, 1]), result([1, 0, 1]))
    assert worse_text.loss > 0
    assert worse_answers.loss > 0
    assert worse_answers.loss_interval[0] <= worse_answers.loss <= worse_answers.loss_interval[1]


def test_a_single_pair_has_no_interval():
    found = compare(perplexity([3.0]), perplexity([3.5]))
    assert (found.stderr, found.interval, found.p_value) == (None, None, 1.0)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (result([1, 0]), "sample counts differ: 3 and 2"),
        (result([1, 0, 1], ids=["q0", "q1", "x"]), "sample ids differ: q2"),
        (result([1, 0, 1], name="exact_match"), "metrics differ"),
        (result([1, 0, 1], ids=["q0", "q0", "q1"]), "two samples have the same id"),
        (result([1, 0, 1], value=0.5), "not the mean"),
    ],
)
def test_what_does_not_pair_says_why(other, reason):
    found = compare(result([1, 1, 0]), other)
    assert isinstance(found, Unpaired)
    assert reason in found.reason


def test_the_only_score_of_a_question_counts_under_any_name():
    def scored(values):
        made = result(values, name="accuracy[prompt=direct,parse=letter,max_new_tokens=16]")
        named = [one.model_copy(update={"values": {"correct": x}})
                 for one, x in zip(made.samples, values, strict=True)]  # fmt: skip
        return made.model_copy(update={"samples": tuple(named)})

    assert compare(scored([1.0, 0.0, 1.0]), scored([0.0, 0.0, 1.0])).effect == pytest.approx(-1 / 3)


def test_samples_with_several_values_of_other_names_do_not_pair():
    made = result([1.0, 0.0])
    samples = [one.model_copy(update={"values": {"x": 1.0, "y": 0.0}}) for one in made.samples]
    found = compare(made.model_copy(update={"samples": tuple(samples)}), made)
    assert found == Unpaired("the samples hold no values of accuracy")


def test_a_value_that_is_not_finite_is_refused():
    good = perplexity([3.0, 3.1])
    bad = good.samples[0].model_copy(update={"values": {"nll": math.nan, "tokens": 31}})
    with pytest.raises(NonFiniteError):
        compare(good, good.model_copy(update={"samples": (bad, good.samples[1])}))
