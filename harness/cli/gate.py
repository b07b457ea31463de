"""``harness gate``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.gate_candidate import candidate_records
from harness.cli.options import Actions, InRange, add_action, add_offline
from harness.errors import UsageError
from harness.records.limits import Effect, Repetitions
from harness.support.files import cannot_write, write_failures_explained, write_file, write_files
from harness.support.tables import Grid, print_grid

if TYPE_CHECKING:
    from harness.gate.baseline import Baseline
    from harness.gate.verdict import Verdict

CALIBRATED = ("cell", "metric", "value", "n", "draws", "spread", "fails above", "finds")
SEEDS = 8
WIDE = 3
"""A threshold of so many times the minimum effect is worth a word."""
SUMMARY = "GITHUB_STEP_SUMMARY"
"""Where GitHub Actions shows the markdown that a step appends."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Three actions, each with its own options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = _action(actions, "check", "compare a candidate with the baseline")
    check.add_argument("--strict", action="store_true", help="inconclusive cells fail too")
    check.add_argument("--junit", type=Path, metavar="FILE", help="write the verdict as JUnit XML")
    check.add_argument("--markdown", type=Path, metavar="FILE", help="write it as markdown")
    check.add_argument("--json", type=Path, metavar="FILE", help="write it as JSON")
    accept = _action(actions, "accept", "take the candidate's numbers into the baseline")
    accept.add_argument("--cell", nargs="+", default=[], help="only those whose title holds this")
    calibrate = _action(actions, "calibrate", "measure the spread and write the baseline")
    calibrate.add_argument(
        "--seeds",
        action=InRange,
        hint=Repetitions,
        default=SEEDS,
        help="calibration draws a cell",
    )
    calibrate.add_argument(
        "--minimum-effect",
        action=InRange,
        hint=Effect,
        default=0.01,
        help="smallest loss that matters: 0.01 is 1 %% of perplexity, 1 point of accuracy",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run or read the candidate and do the action.

    Raises:
        UsageError: an option is wrong, or the baseline is missing or damaged.
    """
    return {"check": _check, "accept": _accept, "calibrate": _calibrate}[arguments.action](
        arguments
    )


def _action(
    actions: Actions[argparse.ArgumentParser], name: str, summary: str
) -> argparse.ArgumentParser:
    parser = add_action(actions, name, summary)
    add = parser.add_argument
    add("recipe", type=Path, nargs="?", help="recipe whose cells to run")
    add("--results", type=Path, help="read these records instead of running a recipe")
    add("--baseline", type=Path, default=Path("gate.json"), help="under version control")
    add("--output", type=Path, help="keep the records here; otherwise they are thrown away")
    add_offline(parser)
    return parser


def _check(arguments: argparse.Namespace) -> int:
    from harness.gate.baseline import read_baseline  # noqa: PLC0415
    from harness.gate.judge import judge  # noqa: PLC0415

    baseline = read_baseline(arguments.baseline)
    verdict = judge(baseline, candidate_records(arguments))
    _report(verdict, arguments)
    return verdict.exit_code(strict=arguments.strict)


def _accept(arguments: argparse.Namespace) -> int:
    from harness.gate.accept import accepted  # noqa: PLC0415
    from harness.gate.baseline import cell_key, read_baseline  # noqa: PLC0415

    baseline = read_baseline(arguments.baseline)
    keys = {
        cell.key
        for cell in baseline.cells
        if not arguments.cell or any(part in cell.title for part in arguments.cell)
    }
    if not keys:
        titles = "; ".join(cell.title for cell in baseline.cells)
        raise UsageError(f"no cell matches {' '.join(arguments.cell)}; there are: {titles}")
    records = [record for record in candidate_records(arguments) if cell_key(record.spec) in keys]
    updated = accepted(baseline, records)
    _write_baseline(updated, arguments.baseline)
    _print_changes(baseline, updated)
    return 0


def _calibrate(arguments: argparse.Namespace) -> int:
    from harness.gate.calibrate import calibrated  # noqa: PLC0415

    baseline = calibrated(candidate_records(arguments), arguments.minimum_effect)
    _write_baseline(baseline, arguments.baseline)
    rows = [
        (
            cell.title,
            cell.metric,
            f"{cell.value:.6g}",
            str(len(cell.values)),
            str(cell.draws),
            "" if cell.spread is None else f"{cell.spread:.2%}",
            f"{cell.minimum:.2%}",
            "" if cell.detectable is None else f"{cell.detectable:.2%}",
        )
        for cell in baseline.cells
    ]
    print_grid(Grid(CALIBRATED, rows, numbers=CALIBRATED[2:]))
    if wide := [cell for cell in baseline.cells if cell.minimum > WIDE * arguments.minimum_effect]:
        sys.stderr.write(
            f"{len(wide)} cells fail only above {max(cell.minimum for cell in wide):.1%} at most, "
            "for so much may a new calibration sample change them; more --seeds know it better\n"
        )
    return 0


def _report(verdict: Verdict, arguments: argparse.Namespace) -> None:
    from harness.gate import reports  # noqa: PLC0415

    rows = [
        (cell.title, *reports.numbers(cell), f"{cell.outcome}: {cell.reason}")
        for cell in verdict.cells
    ]
    summary = reports.markdown(verdict)
    files = {}
    if arguments.markdown:
        files[arguments.markdown] = summary
    if arguments.junit:
        files[arguments.junit] = reports.junit(verdict, strict=arguments.strict)
    if arguments.json:
        plain = {"outcome": verdict.outcome, **verdict.model_dump(mode="json")}
        files[arguments.json] = json.dumps(plain, indent=1, ensure_ascii=False) + "\n"
    with write_failures_explained():
        write_files(files)
    if job_summary := os.environ.get(SUMMARY):
        try:
            with Path(job_summary).open("a", encoding="utf-8") as file:
                file.write(summary + "\n")
        except OSError as error:
            raise cannot_write(job_summary, error) from error
    title = f"Regression gate: {verdict.summary()}"
    # Last: the reader of a pipe may have gone.
    print_grid(Grid(reports.HEAD, rows, title, reports.HEAD[1:-1]))


def _print_changes(old: Baseline, new: Baseline) -> None:
    rows = [
        (after.title, f"{before.value:.6g}", f"{after.value:.6g}")
        for before, after in zip(old.cells, new.cells, strict=True)
        if before != after
    ]
    if rows:
        print_grid(Grid(("cell", "was", "is"), rows, numbers=("was", "is")))
    else:
        sys.stdout.write("nothing changed\n")


def _write_baseline(baseline: Baseline, path: Path) -> None:
    from harness.gate.baseline import baseline_text  # noqa: PLC0415

    with write_failures_explained():
        write_file(path, baseline_text(baseline))
