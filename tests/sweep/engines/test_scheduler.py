"""How jobs are dealt out, with workers that are made up."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.sweep.engines.cluster_devices import gpus_for, require_kinds
from harness.sweep.engines.engine import Ended, Started
from harness.sweep.engines.scheduler import ATTEMPTS, Outcome, deal, last_line


@dataclass
class MadeUp:
    """``kills[job]`` of the workers at ``job`` are killed; which ends first, ``chance`` says."""

    kills: dict[str, int] = field(default_factory=dict)
    chance: object = None
    running: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    started: list[tuple[str, str | None]] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    most: int = 0

    def start(self, job, device):
        self.started.append((job, device))
        worker = len(self.started)
        self.running[worker] = (job, device)
        self.most = max(self.most, len(self.running))
        return worker

    def ended(self, running):
        assert set(running) == set(self.running)
        first = self.chance.choice(running) if self.chance else running[0]
        for worker in {first, running[-1]}:
            job, _ = self.running.pop(worker)
            self.kills[job] = self.kills.get(job, 0) - 1
            killed = self.kills[job] >= 0
            yield worker, Outcome(None, "SIGKILL", True) if killed else Outcome(f"did {job}")

    def kill(self, worker):
        self.killed.append(worker)
        del self.running[worker]


@given(
    kills=st.lists(st.integers(0, 5), max_size=8),
    workers=st.integers(1, 4),
    chance=st.randoms(use_true_random=False),
)
def test_every_job_ends_exactly_once_however_many_workers_are_killed(kills, workers, chance):
    jobs = [f"job {number}" for number in range(len(kills))]
    pool = MadeUp(dict(zip(jobs, kills, strict=True)), chance)
    events = list(deal(pool, jobs, workers, []))
    ends = [event for event in events if isinstance(event, Ended)]
    assert sorted(end.position for end in ends) == list(range(len(jobs)))
    assert pool.most <= workers
    assert not pool.running
    assert not pool.killed
    for end in ends:
        attempts = [
            event.attempt
            for event in events
            if isinstance(event, Started) and event.position == end.position
        ]
        assert attempts == list(range(1, min(kills[end.position] + 1, ATTEMPTS) + 1))
        if kills[end.position] < ATTEMPTS:
            assert end == Ended(end.position, f"did job {end.position}")
        else:
            assert end.answer is None
            assert f"killed {ATTEMPTS} times (SIGKILL)" in end.reason
            assert "fewer --workers" in end.reason


def test_devices_are_dealt_out_and_one_is_free_again_when_its_worker_ends():
    pool = MadeUp()
    list(deal(pool, list("abcdef"), 2, ["cuda:0", "cuda:1"]))
    assert [device for _, device in pool.started[:2]] == ["cuda:0", "cuda:1"]
    assert sorted(device for _, device in pool.started) == ["cuda:0"] * 3 + ["cuda:1"] * 3
    pool = MadeUp()
    list(deal(pool, list("ab"), 2, []))
    assert [device for _, device in pool.started] == [None, None]


@pytest.mark.parametrize("events", [1, 2, 3, 4])
def test_whoever_stops_listening_ends_all_workers(events):
    pool = MadeUp()
    run = deal(pool, list("abcd"), 2, [])
    for _ in range(events):
        next(run)
    busy = set(pool.running)
    run.close()
    assert set(pool.killed) == busy
    assert not pool.running


def test_what_a_worker_said_last_is_its_reason():
    assert last_line("Traceback\n  ...\nValueError: no\n\n") == "ValueError: no"
    assert last_line(" \n") == "it said nothing"


JOB = '{"request": {"device": "%s"}}'


@pytest.mark.parametrize(
    ("own", "device", "wanted", "gpus"),
    [
        ("cpu", None, None, 0),
        ("cuda", None, None, 1),
        ("cuda:1", None, None, 1),
        ("cpu", "cuda", None, 1),
        ("cuda", "cpu", None, 0),
        ("cuda", None, 4, 4),
        ("cuda", None, 0, 0),
    ],
)
def test_a_gpu_is_asked_for_where_the_work_needs_one(own, device, wanted, gpus):
    assert gpus_for(JOB % own, device, wanted) == gpus


def test_a_single_gpu_is_not_to_be_named_where_a_scheduler_deals_them_out():
    require_kinds("ray", ["cuda", "cpu"])
    with pytest.raises(UsageError, match="pass cuda, not cuda:1"):
        require_kinds("ray", ["cuda:1"])
