"""Tables of one kind as markdown, a block for each model, as in the paper's Tables 3 and 10."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leaderboards.breakdown import breakdowns
from leaderboards.escape import escape
from leaderboards.layout import line, names, short, title, value
from leaderboards.numbers import QUESTIONS, percent
from leaderboards.published import UNCERTAIN
from leaderboards.tables import Calibration, Column, Data, Subject, Table


def section(number: int, tables: Sequence[Table]) -> Iterator[str]:
    """Everything about ``tables``, which differ in the model only.

    Methods down, ratio by task across; the slices of each model follow.
    """
    tasks = [data.task for data in tables[0].data]
    columns = sorted(
        {column for table in tables for column in table.columns},
        key=lambda column: (column.ratio, tasks.index(column.task)),
    )
    yield f"## {number}. {names(tasks)}"
    yield ""
    yield " ".join(_caption(tables))
    yield ""
    yield from _header(columns, several=len(tasks) > 1)
    for table in tables:
        yield from _block(table, columns)
    for table in tables:
        yield from breakdowns(table)


def _caption(tables: Sequence[Table]) -> Iterator[str]:
    shared = tables[0]
    accuracy = shared.unit == QUESTIONS
    yield f"Metric: {escape(shared.metric)}{' in percent' if accuracy else ''},"
    yield f"{'higher' if shared.higher_is_better else 'lower'} is better."
    yield f"Compressed layers: {shared.scope}, {shared.dtype}."
    yield f"Calibration: {_calibration(shared.calibration, tables)}."
    yield f"Data: {'; '.join(map(_data, shared.data))}."
    for table in tables:
        yield from _model(table.model)
    if accuracy:
        yield from _caveats(tables)


def _caveats(tables: Sequence[Table]) -> Iterator[str]:
    whole = [table for table in tables if not any(cell.slices for _, _, cell in table.places)]
    if whole and any("scienceqa" in data.task for data in tables[0].data):
        without = names(name for table in whole for name in table.model.references)
        yield f"No breakdown available for {without}."
    cells = [cell for table in tables for _, _, cell in table.places]
    if any(one.published is not None for cell in cells for one in (cell, *cell.slices)):
        yield UNCERTAIN


def _calibration(one: Calibration | None, tables: Sequence[Table]) -> str:
    if one is None:
        return "none"
    size = "whole samples" if one.length is None else f"x {one.length} tokens"
    seeds = sorted({seed for table in tables for seed in table.seeds})
    drawn = f"{one.samples} {size} by {escape(one.sampling)}, {_seeds(seeds)}"
    return f"{escape(one.text)}, {drawn}, {short(one.fingerprint)}"


def _seeds(seeds: Sequence[int]) -> str:
    several = f"seeds {', '.join(map(str, seeds))} (mean ± standard deviation)"
    return several if len(seeds) > 1 else f"seed {seeds[0]}"


def _data(data: Data) -> str:
    options = "" if data.options == "{}" else f", {escape(data.options)}"
    return f"{escape(data.task)} = {names(data.references)}, {short(data.fingerprint)}{options}"


def _model(model: Subject) -> Iterator[str]:
    yield f"Model: {names(model.references)} = {short(model.fingerprint)}."
    yield from (f"{escape(note)}." for note in model.notes)


def _header(columns: Sequence[Column], *, several: bool) -> Iterator[str]:
    before = [None, *(column.ratio for column in columns)]
    ratios = [
        "" if column.ratio == last else percent(column.ratio)
        for column, last in zip(columns, before, strict=False)
    ]
    yield line(["Compression", *ratios])
    yield line(["---", *("--:" for _ in columns)])
    if several:
        yield line(["", *(escape(column.task) for column in columns)])


def _block(table: Table, columns: Sequence[Column]) -> Iterator[str]:
    dense = ", ".join(_dense(table, data.task) for data in table.data)
    yield line([f"{names(table.model.references)} ({dense})", *("" for _ in columns)])
    for row in table.rows:
        cells = dict(zip(table.columns, row.cells, strict=True))
        found = (cells.get(column) for column in columns)
        yield line([title(row), *(value(cell) if cell else "" for cell in found)])


def _dense(table: Table, task: str) -> str:
    cells = [cell for dense in table.dense if dense.task == task for cell in dense.cells]
    return f"{escape(task)}: {' or '.join(map(value, cells)) or 'not measured'}"
