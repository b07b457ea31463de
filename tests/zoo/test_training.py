from __future__ import annotations

import math

import pytest
import torch

from harness.zoo.models import add_dropout
from harness.zoo.training import Schedule
from tests.zoo.tiny_trainings import SCHEDULE, trained


@pytest.mark.parametrize("stops", [(2,), (3,), (1, 5), (6,)])
def test_a_killed_and_resumed_training_gives_the_same_weights(tmp_path, stops):
    whole, straight = trained(tmp_path / "whole")
    resumed, pieced = trained(tmp_path / "pieced", *stops)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert straight.curve == pieced.curve
    assert [point["step"] for point in straight.curve] == [2, 4, 6]


def test_a_kill_between_checkpoints_loses_only_what_came_after_the_last(tmp_path):
    trained(tmp_path)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["progress"]["step"] == SCHEDULE.steps
    assert not list(tmp_path.glob("*.partial"))


def test_training_learns(tmp_path):
    _, progress = trained(tmp_path)
    assert all(math.isfinite(point["loss"]) for point in progress.curve)
    assert progress.curve[-1]["loss"] < progress.curve[0]["loss"]


def test_the_rate_warms_up_and_falls_to_a_hundredth():
    schedule = Schedule(steps=100, learning_rate=1.0, warmup=10, weight_decay=0.0)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert schedule.rate(100) == pytest.approx(0.01)


def test_added_dropout_acts_in_training_only():
    linear = torch.nn.Linear(64, 64)
    add_dropout(linear, 0.5)
    inputs = torch.randn(2, 64)
    assert (linear.train()(inputs) == 0).float().mean() > 0.2
    assert (linear.eval()(inputs) == 0).sum() == 0
