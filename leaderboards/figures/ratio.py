"""Value against ratio, a panel for each model and task: the paper's Figure 4."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from leaderboards.figures.figure import (
    ABOUT,
    BARS,
    BY_LEGEND,
    HEIGHT,
    INK,
    Figure,
    Spec,
    colour_scale,
    configured,
    labels,
    slug,
    spread,
    value_axis,
)
from leaderboards.numbers import percent, rounded
from leaderboards.published import curve, source
from leaderboards.tables import BoardCell, Table

CAPTION = (
    "Filled with a solid line: measured. Dashed across: the dense model. "
    "Methods stand side by side at each ratio."
)
SIDE_BY_SIDE = 0.3
"""Share of the distance between two ratios (10% at most) over which the methods of one spread."""

PAPER = "Hollow with a dashed line, and dotted for the dense model: as printed in {}."


def ratio_figures(number: int, table: Table) -> Iterator[Figure]:
    """One figure for each task of ``table`` that has values of compressed models."""
    for task in (data.task for data in table.data):
        points = list(_points(table, task))
        if points:
            dense, paper = list(_dense(table, task)), list(_paper(table, task))
            overlaid = paper or any(line["source"] == "paper" for line in dense)
            notes = (CAPTION, *([PAPER.format(source())] if overlaid else []), BARS)
            yield Figure(
                number,
                slug("ratio", str(number), table.name, task),
                f"{table.name} on {task}: {table.metric} by share of parameters removed",
                notes,
                configured(
                    table.name, f"{task}, {table.dtype}", _layers(table, points, dense, paper)
                ),
            )


def described(cell: BoardCell, *about: str) -> Spec:
    """What a reader is told about a point, and the runs behind it."""
    bar = spread(cell)
    text = rounded(cell.value, cell.metric, cell.unit)
    if bar:
        text += " ({} to {})".format(*(rounded(end, cell.metric, cell.unit) for end in bar))
    return {
        ABOUT: [*about, text, f"n {cell.n} {cell.unit}"],
        "runs": cell.run_ids,
    }


def bar_ends(cell: BoardCell, *, positive: bool) -> Spec:
    """``low`` and ``high``; a low end that a logarithmic axis has no place for is the value."""
    low, high = spread(cell) or (cell.value, cell.value)
    return {"low": cell.value if positive and low <= 0 else low, "high": high}


def _points(table: Table, task: str) -> Iterator[Spec]:
    positive = table.metric.startswith("perplexity")
    aside = _asides(table)
    for index, column in enumerate(table.columns):
        for row in table.rows:
            cell = row.cells[index]
            if cell and column.task == task:
                yield {
                    "method": row.label,
                    "series": row.title,
                    "ratio": column.ratio + aside[row.title],
                    "value": cell.value,
                    **bar_ends(cell, positive=positive),
                    **described(cell, row.title, f"{percent(column.ratio)} removed"),
                }


def _asides(table: Table) -> dict[str, float]:
    """How far each row stands beside its ratio, so that error bars do not hide each other."""
    ratios = sorted({column.ratio for column in table.columns})
    step = min([0.1, *(b - a for a, b in itertools.pairwise(ratios))])
    count = len(table.rows)
    return {
        row.title: SIDE_BY_SIDE * step * ((index + 0.5) / count - 0.5)
        for index, row in enumerate(table.rows)
    }


def _dense(table: Table, task: str) -> Iterator[Spec]:
    for dense in table.dense:
        for cell in dense.cells if dense.task == task else ():
            yield {"source": "measured", "value": cell.value, **described(cell, "dense")}
            if cell.published is not None:
                yield {"source": "paper", "value": cell.published, ABOUT: _printed(cell, "dense")}


def _paper(table: Table, task: str) -> Iterator[Spec]:
    """The paper's whole curve of each method that has a comparable value of ours."""
    aside = _asides(table)
    for row in table.rows:
        cells = [
            cell
            for column, cell in zip(table.columns, row.cells, strict=True)
            if cell and column.task == task and cell.published is not None
        ]
        if not cells:
            continue
        curves = (curve(name, row.label, task, cells[0].metric) for name in table.model.references)
        for ratio, value in next(filter(None, curves)):
            printed = replace(cells[0], published=value)
            yield {
                "method": row.label,
                "series": row.title,
                "ratio": ratio + aside[row.title],
                "value": value,
                ABOUT: _printed(printed, row.title, f"{percent(ratio)} removed"),
            }


def _printed(cell: BoardCell, *about: str) -> list[str]:
    value = rounded(cell.published or 0.0, cell.metric, cell.unit)
    return [*about, f"{value} in the paper"]


def _encoding(table: Table) -> Spec:
    """Where a point stands, its colour, and how strong it is."""
    x = {
        "field": "ratio",
        "type": "quantitative",
        "title": "parameters removed",
        "axis": {
            "format": "~%",
            "grid": False,
            "values": sorted({column.ratio for column in table.columns}),
        },
        "scale": {"zero": False, "padding": 12},
    }
    colour = {
        "field": "method",
        "type": "nominal",
        "title": None,
        "scale": colour_scale(labels([table])),
    }
    return {
        "x": x,
        "y": {"field": "value", "type": "quantitative", **value_axis(table)},
        "color": colour,
        "opacity": {"condition": {"param": "chosen", "value": 1}, "value": 0.12},
        "detail": {"field": "series"},
    }


def _layers(table: Table, points: list[Spec], dense: list[Spec], paper: list[Spec]) -> Spec:
    shared = _encoding(table)
    y = shared["y"]
    about = {"field": ABOUT, "type": "nominal"}
    pointed = {**shared, "description": about, "tooltip": about}
    dash = {
        "field": "source",
        "scale": {"domain": ["measured", "paper"], "range": [[6, 4], [1, 3]]},
        "legend": None,
    }
    line, point = {"type": "line"}, {"type": "point", "size": 60}
    layers: list[Spec] = [
        {
            "data": {"values": dense},
            "mark": {"type": "rule", "color": INK, "opacity": 0.6, "strokeWidth": 1.3},
            "encoding": {"y": y, "strokeDash": dash, "description": about, "tooltip": about},
        },
        {
            "data": {"values": paper},
            "mark": {**line, "strokeDash": [4, 4], "strokeWidth": 1.2},
            "encoding": shared,
        },
        {
            "data": {"values": paper},
            "mark": {**point, "size": 130, "filled": False, "strokeWidth": 1.3},
            "encoding": pointed,
        },
        {
            "mark": {"type": "rule", "strokeWidth": 1},
            "encoding": {
                **shared,
                "opacity": {"condition": {"param": "chosen", "value": 0.6}, "value": 0.05},
                "y": {**y, "field": "low"},
                "y2": {"field": "high"},
            },
        },
        {"mark": line, "encoding": shared},
        {
            "params": [BY_LEGEND],
            "mark": {**point, "filled": True, "cursor": "pointer"},
            "encoding": pointed,
        },
    ]
    kept = [layer for layer in layers if layer.get("data", {"values": points})["values"]]
    return {"height": HEIGHT, "data": {"values": points}, "layer": kept}
