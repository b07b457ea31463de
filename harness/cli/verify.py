"""``harness verify``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from harness.cli.options import InRange, add_offline, add_offload, split_task
from harness.errors import IncompleteError
from harness.support.tables import Grid, print_grid

if TYPE_CHECKING:
    from harness.experiments.verify import Claim

COLUMNS = ("task", "metric", "claimed", "measured", "", "why")
NUMBERS = ("claimed", "measured")
BROKEN = 1
"""The exit code of a claim that does not hold."""
Tolerance = Annotated[float, Field(ge=0, lt=1)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which saved model, which of its claims, and where to measure."""
    add = parser.add_argument
    add("model", metavar="DIR|OWNER/NAME", help="a saved model: its folder, or its hub id")
    add(
        "--tasks",
        nargs="+",
        metavar="TASK",
        help="only the claims of these: NAME, or NAME=FILE where its data lie elsewhere here",
    )
    add("--device", help="cpu, cuda, ... (default a GPU if there is one)")
    add(
        "--tolerance",
        action=InRange,
        hint=Tolerance,
        default=1e-3,
        help="by so much of its value a number may differ on another platform",
    )
    add("--json", action="store_true", help="print the claims as JSON lines")
    add_offload(parser)
    add_offline(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Measure every claim again; 1 if one does not hold.

    Raises:
        IncompleteError: all that were measured hold, but not all could be.
    """
    from harness.cli.display import quiet_libraries  # noqa: PLC0415
    from harness.cli.progress import ShownProgress  # noqa: PLC0415
    from harness.cli.request import usable_device  # noqa: PLC0415
    from harness.experiments.verify import Conditions, verify  # noqa: PLC0415

    quiet_libraries()
    conditions = Conditions(
        device=usable_device(arguments.device),
        offload=arguments.offload,
        tasks=dict(map(split_task, arguments.tasks)) if arguments.tasks else None,
        tolerance=arguments.tolerance,
    )
    progress = ShownProgress()
    claims = verify(arguments.model, conditions, progress.track, progress.announce)
    if arguments.json:
        for claim in claims:
            sys.stdout.write(json.dumps(asdict(claim), ensure_ascii=False) + "\n")
    else:
        print_grid(Grid(COLUMNS, list(map(_row, claims)), arguments.model, NUMBERS))
    if any(claim.outcome == "does not hold" for claim in claims):
        return BROKEN
    _require_measured(claims)
    return 0


def _row(claim: Claim) -> Sequence[str]:
    values = (_shown(claim.claimed), _shown(claim.measured))
    return (claim.task, claim.metric, *values, claim.outcome, claim.reason)


def _shown(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.10g}"


def _require_measured(claims: Sequence[Claim]) -> None:
    missing = [claim for claim in claims if claim.outcome == "not measured"]
    if missing:
        raise IncompleteError(
            f"{len(missing)} of {len(claims)} claims were not measured; the first, of "
            f"{missing[0].task}: {missing[0].reason}"
        )
