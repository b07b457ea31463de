"""Perplexity against FLOPs over all models and ratios, with a Pareto front: Figure 5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.records.spec import DENSE
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
    shape_scale,
    slug,
    value_axis,
)
from leaderboards.figures.ratio import bar_ends, described
from leaderboards.numbers import QUESTIONS, percent
from leaderboards.tables import Table

COUNTED = (
    "FLOPs are twice the multiply-accumulates a token costs in the linear layers of the language "
    "model as it runs: attention and MLP projections in factor form and the output head. Attention "
    "between tokens, which grows with the context, embeddings and norms are not counted. "
    "Step line: Pareto front, the best value measured for at most that much work; large: the "
    "dense models."
)
OLDER = "{} of {} values come from records that hold no such count and have no point."


def flops_figures(number: int, tables: Sequence[Table]) -> Iterator[Figure]:
    """One figure for each task of a section, where its records count their work."""
    if tables[0].unit == QUESTIONS:
        return
    for task in (data.task for data in tables[0].data):
        points = [point for table in tables for point in _points(table, task)]
        counted = [point for point in points if point["flops"]]
        if any(point["method"] != DENSE for point in counted):
            gap = len(points) - len(counted)
            older = [OLDER.format(gap, len(points))] if gap else []
            yield Figure(
                number,
                slug("flops", str(number), task),
                f"{task}: {tables[0].metric} by FLOPs per token",
                (COUNTED, *older, BARS),
                configured(
                    f"{task} by work, all models", tables[0].metric, _layers(tables, counted)
                ),
            )


def front(points: Sequence[Spec], *, higher: bool) -> list[Spec]:
    """Those that no other point beats with as little work: work and value both improve."""
    sign = -1 if higher else 1
    kept: list[Spec] = []
    for point in sorted(points, key=lambda point: (point["flops"], sign * point["value"])):
        if not kept or sign * point["value"] < sign * kept[-1]["value"]:
            kept.append(point)
    return kept


def _points(table: Table, task: str) -> Iterator[Spec]:
    positive = table.metric.startswith("perplexity")
    for row, column, cell in table.places:
        if column.task == task:
            yield {
                "model": table.name,
                "method": row.label,
                "series": row.title,
                "flops": 2 * cell.macs if cell.macs else None,
                "value": cell.value,
                **bar_ends(cell, positive=positive),
                **described(cell, f"{table.name}, {row.title}", f"{percent(column.ratio)} removed"),
            }


def _encoding(tables: Sequence[Table]) -> Spec:
    """Where a point stands, its colour, and how strong it is."""
    scale = colour_scale(labels(tables))
    scale = {"domain": [DENSE, *scale["domain"]], "range": [INK, *scale["range"]]}
    x = {
        "field": "flops",
        "type": "quantitative",
        "title": "FLOPs per token",
        "scale": {"type": "log", "nice": False, "padding": 16},
        "axis": {"format": "~s", "grid": False, "labelFlush": True},
    }
    return {
        "x": x,
        "y": {"field": "value", "type": "quantitative", **value_axis(tables[0])},
        "color": {"field": "method", "type": "nominal", "title": None, "scale": scale},
        "opacity": {"condition": {"param": "chosen", "value": 0.9}, "value": 0.12},
        "detail": [{"field": "series"}, {"field": "model"}],
    }


def _shape(points: Sequence[Spec]) -> Spec:
    models = list(dict.fromkeys(point["model"] for point in points))
    return {
        "field": "model",
        "type": "nominal",
        "title": None,
        "scale": shape_scale(models),
        **({} if len(models) > 1 else {"legend": None}),
    }


def _layers(tables: Sequence[Table], points: list[Spec]) -> Spec:
    encoding = _encoding(tables)
    about = {"field": ABOUT, "type": "nominal"}
    told = {"description": about, "tooltip": about}
    size = {"condition": {"test": f"datum.method === '{DENSE}'", "value": 130}, "value": 55}
    return {
        "height": HEIGHT,
        "data": {"values": points},
        "layer": [
            {
                "data": {"values": front(points, higher=tables[0].higher_is_better)},
                "mark": {
                    "type": "line",
                    "interpolate": "step-after",
                    "color": INK,
                    "opacity": 0.75,
                    "strokeWidth": 1.6,
                },
                "encoding": {"x": encoding["x"], "y": encoding["y"]},
            },
            {
                "mark": {"type": "line", "strokeWidth": 0.8},
                "encoding": {**encoding, "opacity": {"value": 0.35}},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 1},
                "encoding": {
                    **encoding,
                    "opacity": {"value": 0.4},
                    "y": {**encoding["y"], "field": "low"},
                    "y2": {"field": "high"},
                },
            },
            {
                "params": [BY_LEGEND],
                "mark": {"type": "point", "filled": True, "cursor": "pointer"},
                "encoding": {**encoding, "shape": _shape(points), "size": size, **told},
            },
        ],
    }
