"""Accuracy by slice as a heat map: the paper's Table 4 at a glance."""

from __future__ import annotations

from collections.abc import Iterator

from leaderboards.breakdown import Breakdown, breakdowns
from leaderboards.figures.figure import ABOUT, Figure, Spec, configured, slug
from leaderboards.figures.ratio import described
from leaderboards.numbers import percent, rounded
from leaderboards.slices import WHOLE
from leaderboards.tables import Table

CAPTION = (
    "Heat map: accuracy in percent by slice, the whole last; blank where a slice was not measured."
)
ROW = 22
"""Height of a row in pixels."""


def heat_maps(number: int, table: Table) -> Iterator[Figure]:
    """One figure for each task with slices."""
    for breakdown in breakdowns(table):
        yield Figure(
            number,
            slug("slices", str(number), table.name, breakdown.task),
            f"{table.name} on {breakdown.task}: accuracy by slice",
            (CAPTION, *breakdown.notes),
            configured(table.name, f"{breakdown.task} by slice", _layers(breakdown)),
        )


def _layers(breakdown: Breakdown) -> Spec:
    names = [*breakdown.slices, WHOLE]
    values = [
        {
            "row": f"{row.title} {percent(column.ratio)}" if column.ratio else row.title,
            "slice": name,
            "value": cell.value,
            "text": rounded(cell.value, cell.metric, cell.unit),
            **described(cell, row.title, f"{percent(column.ratio)} removed", name),
        }
        for row, column, whole in breakdown.places
        for name, cell in zip(names, breakdown.values(whole), strict=True)
        if cell
    ]
    rows = list(dict.fromkeys(value["row"] for value in values))
    about = {"field": ABOUT, "type": "nominal"}
    encoding: Spec = {
        "description": about,
        "tooltip": about,
        "x": {
            "field": "slice",
            "type": "nominal",
            "sort": names,
            "title": None,
            "axis": {"orient": "top", "labelAngle": 0, "domain": False, "ticks": False},
        },
        "y": {
            "field": "row",
            "type": "nominal",
            "sort": rows,
            "title": None,
            "axis": {"domain": False, "ticks": False},
        },
    }
    colour = {
        "field": "value",
        "type": "quantitative",
        "scale": {"scheme": "viridis", "domain": [0, 1]},
        "legend": None,
    }
    ink = {"condition": {"test": "datum.value > 0.6", "value": "black"}, "value": "white"}
    return {
        "height": ROW * len(rows),
        "data": {"values": values},
        "encoding": encoding,
        "layer": [
            {"mark": {"type": "rect", "cursor": "pointer"}, "encoding": {"color": colour}},
            {
                "mark": {"type": "text", "fontSize": 10, "cursor": "pointer"},
                "encoding": {"text": {"field": "text"}, "color": ink},
            },
        ],
    }
