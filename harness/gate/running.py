"""Run the cells of a recipe here and now, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness.experiments.request import Request
from harness.experiments.runner import run_plan
from harness.records import store
from harness.records.record import RunRecord
from harness.support.progress import Tracker
from harness.sweep.cell import plan_of
from harness.sweep.recipe_file import Recipe, requests


def run_recipe(recipe: Recipe, output: Path, track: Tracker, *, force: bool) -> Iterator[RunRecord]:
    """Run each cell of ``recipe`` and yield its record; without ``force`` keep finished ones.

    Raises:
        HarnessError: a cell could not even be planned; see ``harness.experiments.plan.make_plan``.
    """
    store.require_writable(output)
    cells: Sequence[Request] = requests(recipe, output)
    for request in track(cells, "cells", len(cells)):
        plan, _ = plan_of(replace(request, force=force))
        yield run_plan(plan)[0]
