"""The model card: what a model was trained on, how, and what it can do."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness.records.results import TaskResult
from harness.support.markdown import markdown_table
from harness.zoo.models import parameters
from harness.zoo.training import Progress
from harness.zoo.training_plans import TrainingPlan, TrainingSetup

CURVE_ROWS = 12


def write(
    name: str,
    plan: TrainingPlan,
    setup: TrainingSetup,
    progress: Progress,
    results: Mapping[str, TaskResult],
) -> str:
    """The card of a trained model as markdown; ``results`` by task."""
    schedule = setup.schedule
    return f"""---
license: apache-2.0
library_name: transformers
---

# {name}

{plan.architecture}, {parameters(setup.model):,} parameters, float16. Made to test compression
methods where no model hub is reachable; of no other use.

- Data: {plan.data}
- Command: `python -m harness.zoo train {name}` (commit {_commit()})
{_vision_stage(setup)}- Seed {schedule.seed}, {schedule.steps} steps, AdamW, bfloat16 autocast
- Learning rate {schedule.learning_rate:g} (warm-up {schedule.warmup}, cosine), weight decay
  {schedule.weight_decay:g}{_second_stage(setup)}
- {progress.seconds:.0f} seconds on one thread of a shared CPU

## Scores

Of the weights as shipped, read as float32.

{_scores(results)}

## Loss curve

Loss per token or answer in training; scores on held-out training data, of all tokens of an answer
being the likeliest.

{_curve(progress.curve)}
"""


def _vision_stage(setup: TrainingSetup) -> str:
    if not setup.vision_steps:
        return ""
    return (
        f"- First {setup.vision_steps} steps of the vision tower alone: one linear layer on each "
        "image token names\n  the letter in its cell, others on their mean the shape, colour, "
        "number or direction shown\n"
    )


def _second_stage(setup: TrainingSetup) -> str:
    if setup.second_stage is None:
        return ""
    _, schedule = setup.second_stage
    return (
        f"\n- Then {schedule.steps} steps mostly of reading, learning rate "
        f"{schedule.learning_rate:g}"
    )


def _scores(results: Mapping[str, TaskResult]) -> str:
    rows = []
    for task, result in results.items():
        metric = result.metrics[0]
        error = "" if metric.stderr is None else f" ± {metric.stderr:.3f}"
        value = f"{metric.value:.3f}{error}"
        rows.append((f"`{task}`", metric.name, value, f"{metric.n} {metric.unit}"))
    headings = ("task", "metric", "value", "n")
    return "\n".join(markdown_table(headings, "|---|---|--:|--:|", rows))


def _curve(points: list[dict[str, float]]) -> str:
    columns = list(points[-1])
    every = max(1, len(points) // CURVE_ROWS)
    chosen = points[every - 1 :: every]
    if chosen[-1] is not points[-1]:
        chosen.append(points[-1])
    rows = (
        [f"{point['step']:.0f}", *(f"{point[column]:.3f}" for column in columns[1:])]
        for point in chosen
    )
    return "\n".join(markdown_table(columns, "|" + "--:|" * len(columns), rows))


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
