"""The tables of a page: readable as they are, sorted and filtered by a script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from leaderboards.breakdown import ABSENT, Breakdown
from leaderboards.figures.figure import INK, colour_scale, labels
from leaderboards.numbers import percent, rounded
from leaderboards.page.markup import link, text
from leaderboards.tables import BoardCell, BoardRow, Column, Table, Unranked, columns_of


def ranking(tables: Sequence[Table], caption: str) -> Iterator[str]:
    """Methods down, ratio by task across, a group of rows for each model."""
    columns = columns_of(tables)
    several = len(tables[0].data) > 1
    yield from _opening(caption)
    yield f"<thead>{_header(columns, several=several)}</thead>"
    for table in tables:
        yield "<tbody>"
        yield f'<tr class="group"><th scope="rowgroup" colspan="{len(columns) + 1}">'
        yield f"{text(', '.join(table.model.references))} "
        yield f"{_dense(table, several=several)}</th></tr>"
        colours = method_colours([table])
        for row in table.rows:
            cells = dict(zip(table.columns, row.cells, strict=True))
            yield f'<tr><th scope="row">{_method(row, colours)}</th>'
            yield from (_cell(cells.get(column), "") for column in columns)
            yield "</tr>"
        yield "</tbody>"
    yield "</table></div>"


def slices(one: Breakdown, colours: dict[str, str], caption: str) -> Iterator[str]:
    """Method and ratio down, slices across."""
    yield from _opening(caption)
    headings = ["Method", "Removed", *one.headings]
    yield f"<thead><tr>{''.join(map(_sortable, headings))}</tr></thead><tbody>"
    for row, column, cell in one.places:
        yield f'<tr><th scope="row">{_method(row, colours)}</th>'
        yield f'<td data-value="{column.ratio!r}">{percent(column.ratio)}</td>'
        yield from (_cell(part, ABSENT) for part in one.values(cell))
        yield "</tr>"
    yield "</tbody></table></div>"


def unranked(several: Iterable[Unranked]) -> Iterator[str]:
    """What takes no part, and why."""
    yield from _opening("Records that do not rank")
    headings = ("Record", "Model", "Method", "Removed", "Task", "Reason")
    yield f"<thead><tr>{''.join(map(_sortable, headings))}</tr></thead><tbody>"
    for one in several:
        shown = _name(one.run_id)
        # What has no model is a file that could not be read: there is no record to show.
        record = f'<a href="{text(link([one.run_id]))}">{shown}</a>' if one.model else shown
        ratio = f' data-value="{one.ratio!r}">{percent(one.ratio)}' if one.model else ">"
        yield f'<tr><th scope="row" class="code">{record}</th>'
        yield f"<td>{_name(one.model)}</td><td>{_name(one.method)}</td>"
        yield f'<td class="number"{ratio}</td><td>{_name(one.task)}</td>'
        yield f"<td>{_name(one.reason)}</td></tr>"
    yield "</tbody></table></div>"


def method_colours(tables: Sequence[Table]) -> dict[str, str]:
    """Each label's colour in the charts."""
    scale = colour_scale(labels(tables))
    return dict(zip(scale["domain"], scale["range"], strict=True))


def _opening(caption: str) -> Iterator[str]:
    """A region of its own that scrolls sideways, with the keyboard too."""
    yield f'<div class="wide" tabindex="0" role="region" aria-label="{text(caption)}">'
    yield f"<table><caption>{text(caption)}</caption>"


def _header(columns: Sequence[Column], *, several: bool) -> str:
    if not several:
        ratios = "".join(_sortable(percent(column.ratio)) for column in columns)
        return f"<tr>{_sortable('Method')}{ratios}</tr>"
    spans = [(ratio, len(list(run))) for ratio, run in groupby(columns, lambda one: one.ratio)]
    over = "".join(f'<th scope="colgroup" colspan="{n}">{percent(r)}</th>' for r, n in spans)
    tasks = "".join(_sortable(column.task) for column in columns)
    return f"<tr><td></td>{over}</tr><tr>{_sortable('Method')}{tasks}</tr>"


def _sortable(heading: str) -> str:
    return f'<th scope="col" data-sort>{_name(heading)}</th>'


def _dense(table: Table, *, several: bool) -> str:
    found = [
        f"{f'{text(dense.task)} ' if several else ''}{_linked(cell)}{_aside(cell)}"
        for dense in table.dense
        for cell in dense.cells
    ]
    return f'<span class="dense">dense: {", ".join(found) or "not measured"}</span>'


def _method(row: BoardRow, colours: dict[str, str]) -> str:
    circle = f'<circle cx="4" cy="4" r="4" fill="{colours.get(row.label, INK)}"/>'
    return f'<svg class="dot" viewBox="0 0 8 8" aria-hidden="true">{circle}</svg>{_name(row.title)}'


def _name(name: str) -> str:
    return f'<span class="name">{text(name)}</span>'


def _cell(cell: BoardCell | None, absent: str) -> str:
    if cell is None:
        return f"<td>{absent}</td>"
    best = ' class="best"' if cell.best else ""
    return f'<td data-value="{cell.value!r}"{best}>{_linked(cell)}{_aside(cell)}</td>'


def _linked(cell: BoardCell) -> str:
    runs = [one.run_id for one in cell.members or (cell,)]
    star = '<abbr title="better than the dense model">*</abbr>' if cell.better_than_dense else ""
    return f'{star}<a href="{text(link(runs))}">{rounded(cell.value, cell.metric, cell.unit)}</a>'


def _aside(cell: BoardCell) -> str:
    error = cell.stderr if cell.spread is None else cell.spread
    notes = []
    if error is not None:
        over = f" over {cell.seeds} seeds" if cell.spread is not None else ""
        notes.append(f"± {rounded(error, cell.metric, cell.unit)}{over}")
    if cell.published is not None:
        notes.append(f"paper {rounded(cell.published, cell.metric, cell.unit)}")
    return "".join(f" <small>{note}</small>" for note in notes)
