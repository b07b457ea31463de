"""``python -m harness.zoo train NAME``: train one of our small models from scratch."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import track as show_progress

from harness.api import evaluate, load_model
from harness.assets.builtin import SHELF
from harness.assets.cache import cache_root
from harness.records.document import digest
from harness.zoo import card, shelf
from harness.zoo.recipes import RECIPES
from harness.zoo.training import CHECKPOINT, train
from harness.zoo.vision_pretraining import learn_to_see

T = TypeVar("T")
console = Console(stderr=True)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m harness.zoo", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", help="train a model; goes on where it was stopped")
    command.add_argument("name", choices=sorted(RECIPES))
    command.add_argument("--output", type=Path, help="folder to write (default: the shipped one)")
    chosen = parser.parse_args()
    make(chosen.name, chosen.output or SHELF / chosen.name)


def make(name: str, output: Path) -> None:
    """Train the model ``name`` and write it, with its card, into ``output``."""
    # More threads would add in another order and give other weights.
    torch.set_num_threads(1)
    recipe = RECIPES[name]
    lesson = recipe.prepare()
    plan = [lesson.model.config.to_json_string(use_diff=False), str(lesson.schedule), lesson.seeing]
    version = digest(plan)
    checkpoints = cache_root() / "zoo" / f"{name}-{version[:16]}"
    console.print(f"{name}: checkpoints in {checkpoints}")
    if lesson.seeing and not (checkpoints / CHECKPOINT).exists():
        learn_to_see(lesson.model, lesson.tools, lesson.seeing, lesson.schedule.seed, _track)
    progress = train(lesson.model, lesson.course, lesson.schedule, checkpoints, _track)
    if lesson.more:
        progress = progress.then(train(lesson.model, *lesson.more, checkpoints / "more", _track))
    shelf.put(lesson.model, lesson.tools, output)
    subject = load_model(str(output))
    results = {task: evaluate(subject, task) for task in recipe.tasks}
    text = card.write(name, recipe, lesson, progress, results)
    (output / "README.md").write_text(text, encoding="utf-8")
    console.print(f"{name}: {progress.seconds:.0f} s, written to {output}")


def _track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    return iter(show_progress(items, description, total, console=console))


if __name__ == "__main__":
    main()
