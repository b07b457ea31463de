"""``python -m harness.zoo train NAME``: train a model of ours from scratch, in a checkout.

What is installed from a wheel has the weights only.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import track as show_progress

from harness.api import evaluate, load_model
from harness.assets.builtin import WEIGHTS
from harness.assets.cache import cache_root
from harness.records.document import digest
from harness.zoo import card
from harness.zoo.training import CHECKPOINT, train
from harness.zoo.training_plans import TRAINING_PLANS
from harness.zoo.vision_pretraining import pretrain_vision

T = TypeVar("T")
console = Console(stderr=True)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m harness.zoo", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", help="train a model; goes on where it was stopped")
    command.add_argument("name", choices=sorted(TRAINING_PLANS))
    command.add_argument("--output", type=Path, help="folder to write (default: the shipped one)")
    chosen = parser.parse_args()
    make(chosen.name, chosen.output or WEIGHTS / chosen.name)


def make(name: str, output: Path) -> None:
    """Train the model ``name`` and write it, with its card, into ``output``."""
    # More threads would add in another order and give other weights.
    torch.set_num_threads(1)
    plan = TRAINING_PLANS[name]
    setup = plan.prepare()
    config = setup.model.config.to_json_string(use_diff=False)
    version = digest([config, str(setup.schedule), setup.vision_steps])
    checkpoints = cache_root() / "zoo" / f"{name}-{version[:16]}"
    console.print(f"{name}: checkpoints in {checkpoints}")
    if setup.vision_steps and not (checkpoints / CHECKPOINT).exists():
        pretrain_vision(
            setup.model, setup.processor, setup.vision_steps, setup.schedule.seed, _track
        )
    progress = train(setup.model, setup.objective, setup.schedule, checkpoints, _track)
    if setup.second_stage:
        later = train(setup.model, *setup.second_stage, checkpoints / "more", _track)
        progress = progress.then(later)
    setup.model.half().save_pretrained(output)
    setup.processor.save_pretrained(output)
    subject = load_model(str(output))
    results = {task: evaluate(subject, task) for task in plan.tasks}
    text = card.write(name, plan, setup, progress, results)
    (output / "README.md").write_text(text, encoding="utf-8")
    console.print(f"{name}: {progress.seconds:.0f} s, written to {output}")


def _track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    return iter(show_progress(items, description, total, console=console))


if __name__ == "__main__":
    main()
