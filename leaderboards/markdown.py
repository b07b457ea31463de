"""A board as markdown, each table in the shape of the paper's Table 3."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.spec import DENSE
from leaderboards.escape import escape
from leaderboards.numbers import exact, percent, rounded
from leaderboards.published import source
from leaderboards.tables import Board, Cell, Column, Data, Row, Table, Unranked

SHORT = 12
"""Digits of a fingerprint that are shown."""


def render(board: Board) -> str:
    """Markdown text; equal boards give equal bytes."""
    legend = (
        "Columns: share of parameters removed, by task. Best of a column in **bold**; "
        r"\* better than the dense model under the same conditions; "
        f"(paper ...) as printed in {escape(source())}."
    )
    lines = ["# Leaderboard", "", legend]
    for number, table in enumerate(board.tables, start=1):
        lines += ["", *_table(number, table)]
    if board.unranked:
        lines += ["", "## Not ranked", "", *_unranked(board.unranked)]
    if board.tables:
        lines += ["", "## Details", "", *_details(board.tables)]
    return "\n".join(lines) + "\n"


def _table(number: int, table: Table) -> Iterator[str]:
    measured = {dense.task: dense.cells for dense in table.dense}
    dense = ", ".join(_dense(data.task, measured.get(data.task, ())) for data in table.data)
    yield f"## {number}. {_names(table.model.references)} ({dense})"
    yield ""
    yield _caption(table)
    if table.rows:
        yield ""
        yield from _header(table.columns)
        for row in table.rows:
            yield _line([_title(row), *map(_cell, row.cells)])


def _dense(task: str, cells: Sequence[Cell]) -> str:
    return f"{escape(task)}: {' or '.join(map(_value, cells)) or 'not measured'}"


def _caption(table: Table) -> str:
    direction = "higher" if table.higher_is_better else "lower"
    sentences = [
        f"Metric: {escape(table.metric)}, {direction} is better.",
        f"Model {_short(table.model.fingerprint)}, {table.dtype}.",
        *(f"{escape(note)}." for note in table.model.notes),
        f"Calibration: {_calibration(table)}.",
        f"Data: {'; '.join(map(_data, table.data))}.",
    ]
    return " ".join(sentences)


def _calibration(table: Table) -> str:
    one = table.calibration
    if one is None:
        return "none"
    size = f"{one.samples} x {one.length} tokens by {escape(one.sampling)}, seed {one.seed}"
    return f"{escape(one.text)}, {size}, {_short(one.fingerprint)}"


def _data(data: Data) -> str:
    options = "" if data.options == "{}" else f", {escape(data.options)}"
    return f"{escape(data.task)} = {_names(data.references)}, {_short(data.fingerprint)}{options}"


def _header(columns: Sequence[Column]) -> Iterator[str]:
    before = [None, *(column.ratio for column in columns)]
    ratios = [
        "" if column.ratio == last else percent(column.ratio)
        for column, last in zip(columns, before, strict=False)
    ]
    yield _line(["Compression", *ratios])
    yield _line(["---", *("--:" for _ in columns)])
    yield _line(["", *(escape(column.task) for column in columns)])


def _title(row: Row) -> str:
    if not row.runs:
        return escape(row.label)
    more = f" and {len(row.runs) - 1} more" if len(row.runs) > 1 else ""
    return f"{escape(row.label)} (run {escape(row.runs[0])}{more})"


def _cell(cell: Cell | None) -> str:
    return _value(cell) if cell else ""


def _value(cell: Cell) -> str:
    text = (r"\*" if cell.better_than_dense else "") + rounded(cell.value, cell.metric)
    measured = f"**{text}**" if cell.best else text
    if cell.published is None:
        return measured
    return f"{measured} (paper {rounded(cell.published, cell.metric)})"


def _unranked(unranked: Iterable[Unranked]) -> Iterator[str]:
    yield _line(["Record", "Model", "Method", "Ratio", "Task", "Reason"])
    yield _line(["---"] * 6)
    for one in unranked:
        ratio = percent(one.ratio) if one.model else ""
        names = map(escape, (one.run_id, one.model, one.method))
        yield _line([*names, ratio, escape(one.task), escape(one.reason)])


def _details(tables: Iterable[Table]) -> Iterator[str]:
    yield _line(["Table", "Method", "Ratio", "Task", "Value", "Standard error", "n", "Run"])
    yield _line(["--:", "---", "--:", "---", "--:", "--:", "--:", "---"])
    for number, table in enumerate(tables, start=1):
        for dense in table.dense:
            for reference in dense.cells:
                yield _detail(number, DENSE, Column(0.0, dense.task), reference)
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                if cell:
                    yield _detail(number, row.label, column, cell)


def _detail(number: int, label: str, column: Column, cell: Cell) -> str:
    stderr = "n/a" if cell.stderr is None else exact(cell.stderr)
    return _line(
        [
            str(number),
            escape(label),
            percent(column.ratio),
            escape(column.task),
            exact(cell.value),
            stderr,
            f"{cell.n} {escape(cell.unit)}",
            escape(cell.run_id),
        ]
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(escape, names))


def _short(fingerprint: str) -> str:
    return escape(fingerprint[:SHORT])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
