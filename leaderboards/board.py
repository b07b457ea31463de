"""Records in, board out: which results may share a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import astuple

from harness.plugin import RunRecord
from harness.records.store import Problem
from leaderboards.beside import changes, comparable
from leaderboards.eligibility import eligibility, without_bulk
from leaderboards.entry import LANGUAGE, BoardEntry, Measurement
from leaderboards.rows import dense_cells, grouped, ranked_rows
from leaderboards.tables import Board, Data, DenseReference, Table, TableModel, Unranked

PAPER_TASKS = ("wikitext2", "ptb", "c4")


def board(records: Iterable[RunRecord | Problem]) -> Board:
    """The leaderboard of ``records``; their order does not matter.

    What cannot be compared, a file that is no record included, is listed apart.
    """
    entries: list[BoardEntry] = []
    apart: set[Unranked] = set()
    behind: list[RunRecord] = []
    for record in records:
        if isinstance(record, Problem):
            apart.add(
                Unranked("", "", 0.0, "", record.path.name, "no sound record", record.message)
            )
            continue
        entry = eligibility(record)
        if isinstance(entry, BoardEntry):
            entries.append(entry)
            behind.append(entry.record)
        else:
            apart.add(entry)
            behind.append(without_bulk(record))
    entries, unlike = comparable(entries)
    apart.update(unlike)
    tables = [
        _table(members)
        for alike in grouped(entries, lambda entry: entry.protocol).values()
        for layer in _layers(alike)
        for compressed in _split(layer, lambda entry: entry.scope)
        for members in _split(compressed, lambda entry: entry.calibration)
    ]
    behind.sort(key=lambda record: (record.run_id, record.digest))
    return Board(tuple(sorted(tables, key=_table_order)), tuple(sorted(apart)), tuple(behind))


def _layers(entries: list[BoardEntry]) -> list[list[BoardEntry]]:
    """Split so that within a layer each task has one data set and one set of options."""
    seen: defaultdict[str, int] = defaultdict(int)
    depth: dict[Measurement, int] = {}
    for measurement in sorted({entry.measurement for entry in entries}):
        depth[measurement] = seen[measurement.task]
        seen[measurement.task] += 1
    return list(grouped(entries, lambda entry: depth[entry.measurement]).values())


def _split(
    entries: list[BoardEntry], key: Callable[[BoardEntry], Hashable]
) -> list[list[BoardEntry]]:
    """Split by ``key``; what has none holds under each and goes with all of them."""
    groups = grouped(entries, key)
    free = groups.pop(None, [])
    return [[*free, *members] for members in groups.values()] or [free]


def _table(entries: list[BoardEntry]) -> Table:
    compressed = [entry for entry in entries if not entry.dense]
    columns = sorted({entry.column for entry in compressed}, key=lambda c: (c.ratio, _task(c.task)))
    by_task = grouped(
        (entry for entry in entries if entry.dense), lambda entry: entry.measurement.task
    )
    dense = [
        DenseReference(task, dense_cells(by_task[task])) for task in sorted(by_task, key=_task)
    ]
    protocol = entries[0].protocol
    return Table(
        model=_subject(entries),
        dtype=protocol.dtype,
        metric=protocol.metric,
        unit=protocol.unit,
        higher_is_better=protocol.higher_is_better,
        scope=next((entry.scope for entry in entries if entry.scope), LANGUAGE),
        calibration=next((entry.calibration for entry in entries if entry.calibration), None),
        seeds=tuple(sorted({entry.seeds[0] for entry in compressed})),
        data=_data(entries),
        dense=tuple(dense),
        columns=tuple(columns),
        rows=ranked_rows(compressed, columns, dense, higher=protocol.higher_is_better),
        cautions=_cautions(entries),
    )


def _cautions(entries: Sequence[BoardEntry]) -> tuple[str, ...]:
    """What changed every number of a task, by task."""
    said = {
        f"Every row of {entry.record.spec.task.name}: {caution.text}"
        for entry in entries
        for caution in changes(entry.record)
    }
    return tuple(sorted(said))


def _subject(entries: Sequence[BoardEntry]) -> TableModel:
    models = [entry.record.model for entry in entries]
    return TableModel(
        family=min(model.family for model in models),
        parameters=min(model.parameters for model in models),
        references=tuple(sorted({model.reference for model in models})),
        fingerprint=models[0].fingerprint,
        notes=tuple(sorted({note for model in models for note in model.remarks})),
    )


def _data(entries: Sequence[BoardEntry]) -> tuple[Data, ...]:
    groups = grouped(entries, lambda entry: entry.measurement)
    return tuple(
        Data(
            measurement.task,
            tuple(sorted({entry.record.data.reference for entry in groups[measurement]})),
            measurement.fingerprint,
            measurement.options,
        )
        for measurement in sorted(groups, key=lambda measurement: _task(measurement.task))
    )


def _task(name: str) -> tuple[int, str]:
    return (PAPER_TASKS.index(name) if name in PAPER_TASKS else len(PAPER_TASKS), name)


def _table_order(table: Table) -> tuple[object, ...]:
    """By conditions, then by model: the tables of one kind of result follow each other."""
    model = table.model
    calibration = astuple(table.calibration) if table.calibration else ()
    return (
        [(_task(data.task), astuple(data)) for data in table.data],
        table.metric,
        table.unit,
        table.higher_is_better,
        table.dtype,
        table.scope,
        # None sorts with nothing.
        [(value is not None, value) for value in calibration],
        model.family,
        model.parameters,
        model.references,
        model.fingerprint,
    )
