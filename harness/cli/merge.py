"""``harness merge``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import IncompleteError, UsageError
from harness.records import store
from harness.records.merge import Conflict, Merged, StoredRecord, merged
from harness.records.store import Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """From where to where."""
    parser.add_argument("folders", nargs="+", type=Path, help="folders of records")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for all; may hold records already"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Write one record of each cell to ``--output``, or nothing where two do not agree.

    Raises:
        UsageError: two records of one cell have different numbers, or a record would replace a
            damaged file.
        IncompleteError: some files are no sound records; the others are merged.
    """
    output = arguments.output
    records, problems = _read([output] if output.is_dir() else [], arguments.folders)
    result = merged(records)
    _require_agreement(result.conflicts)
    _require_no_damage(result, output, problems)
    added = [stored for stored in result.kept if stored.path.parent != output]
    replaced = sum((output / f"{stored.record.run_id}.json").exists() for stored in added)
    for stored in added:
        store.save(stored.record, output)
    sys.stdout.write(
        f"{len(result.kept)} records in {output}: {len(added) - replaced} added, {replaced} "
        f"replaced a less complete one, {len(result.kept) - len(added)} were there\n"
    )
    if problems:
        for problem in problems:
            sys.stderr.write(f"{problem.path}: {problem.message}\n")
        raise IncompleteError(
            f"{len(problems)} files are no sound records and were left out; see above"
        )
    return 0


def _read(
    present: Sequence[Path], folders: Sequence[Path]
) -> tuple[list[StoredRecord], list[Problem]]:
    """What lies in the output comes first, so that it stays."""
    records: list[StoredRecord] = []
    problems: list[Problem] = []
    seen: set[Path] = set()
    for folder in (*present, *folders):
        if folder.resolve() in seen:
            continue
        seen.add(folder.resolve())
        for path, record in zip(sorted(folder.glob("*.json")), store.scan(folder), strict=True):
            if isinstance(record, Problem):
                problems.append(record)
            else:
                records.append(StoredRecord(path, record))
    return records, problems


def _require_agreement(conflicts: Sequence[Conflict]) -> None:
    if not conflicts:
        return
    for conflict in conflicts[1:]:
        sys.stderr.write(f"{conflict}\n")
    raise UsageError(
        f"{len(conflicts)} cells have different numbers, nothing is written; {conflicts[0]}; "
        "'harness diff' shows why they may differ; delete the wrong one"
    )


def _require_no_damage(result: Merged, output: Path, problems: Sequence[Problem]) -> None:
    damaged = {problem.path for problem in problems}
    for stored in result.kept:
        path = output / f"{stored.record.run_id}.json"
        if path in damaged:
            raise UsageError(
                f"{path} is damaged and {stored.path} would replace it; delete it first, nothing "
                "is written"
            )
