"""Training that can be killed at any moment and still ends with the same weights.

Each step draws its randomness from the seed and its own number alone, so a checkpoint needs the
model, the optimiser and the number of steps done, but no state of a random generator.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from harness.datasets.deterministic import seeded_random
from harness.support.files import file_aside
from harness.support.progress import Tracker, silent

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn; the rate warms up linearly, then falls as a cosine."""

    steps: int
    learning_rate: float
    warmup: int
    weight_decay: float
    seed: int = 0
    check_every: int = 100
    """Steps between checkpoints, each with a validation."""

    def rate(self, step: int) -> float:
        """Learning rate of ``step`` (from 0)."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)


class Objective(Protocol):
    """What is learned: batches by step, and how well it is known."""

    def losses(self, model: nn.Module, step: int) -> Iterable[Tensor]:
        """Terms of the loss of the batch of ``step``, which depends on nothing but the step."""

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Scores on data that is not trained on."""


@dataclass
class Progress:
    """How far a training has come."""

    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)

    def then(self, later: Progress) -> Progress:
        """Both as one, ``later`` counted on."""
        curve = [{**point, "step": point["step"] + self.step} for point in later.curve]
        return Progress(self.step + later.step, self.seconds + later.seconds, self.curve + curve)


def train(
    model: nn.Module,
    objective: Objective,
    schedule: Schedule,
    folder: Path,
    track: Tracker = silent,
    until: int | None = None,
) -> Progress:
    """Train ``model`` in place, going on from the checkpoint in ``folder`` if there is one.

    Args:
        model: freshly built from the schedule's seed.
        objective: what to learn.
        schedule: for how long and how fast.
        folder: where the checkpoint lies, made if absent.
        track: shows the progress over steps.
        until: stop after this many steps, as if killed there.
    """
    optimizer = torch.optim.AdamW(
        _groups(model, schedule.weight_decay), betas=(0.9, 0.98), fused=True
    )
    checkpoint = folder / CHECKPOINT
    done = _restore(checkpoint, model, optimizer)
    started = time.perf_counter() - done.seconds
    last = min(schedule.steps, until or schedule.steps)
    recent: list[float] = []
    for step in track(range(done.step, last), "training", last - done.step):
        seed_step(schedule.seed, step)
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        model.train()
        total = 0.0
        for loss in objective.losses(model, step):
            loss.backward()
            total += loss.item()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        recent.append(total)
        if (step + 1) % schedule.check_every == 0 or step + 1 == schedule.steps:
            done.step, done.seconds = step + 1, time.perf_counter() - started
            scores = {f"validation {k}": v for k, v in objective.validate(model.eval()).items()}
            point = {"step": step + 1.0, "loss": sum(recent) / len(recent), **scores}
            done.curve.append(point)
            recent.clear()
            _save(checkpoint, model, optimizer, done)
    return done


def seed_step(seed: int, step: int) -> None:
    """Seed torch's global generator, which dropout draws from, for one step."""
    torch.manual_seed(seeded_random(seed, step).getrandbits(62))


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


def _save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, done: Progress) -> None:
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    with file_aside(path) as aside:
        torch.save({**state, "progress": asdict(done)}, aside)


def _restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    if not path.exists():
        return Progress()
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])
