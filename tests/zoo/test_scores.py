"""The shipped vision-language models answer questions they were not trained on."""

from __future__ import annotations

import pytest

from harness import evaluate, load_model
from harness.evaluation.task import Conditions

# Hundreds of questions to the models as they are shipped.
pytestmark = pytest.mark.slow
LEAST = {"mini-scienceqa": 0.9, "mini-textvqa": 0.65}


@pytest.fixture(scope="module", params=["builtin:llava-tiny", "builtin:qwen2.5-vl-tiny"])
def subject(request, one_thread):
    return load_model(request.param)


@pytest.mark.parametrize("task", LEAST)
def test_most_answers_are_right(subject, task):
    result = evaluate(subject, task, conditions=Conditions(batch_size=32, limit=128))
    assert result.metrics[0].value >= LEAST[task]


def test_answers_do_not_depend_on_the_batch(subject):
    answers = [
        evaluate(
            subject, "mini-scienceqa", conditions=Conditions(batch_size=size, limit=16)
        ).samples
        for size in (1, 4, 8)
    ]
    assert answers[0] == answers[1] == answers[2]
