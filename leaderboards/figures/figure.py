"""What a figure is, and how all of them look."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.support.markdown import visible
from leaderboards.methods import method_of
from leaderboards.numbers import QUESTIONS
from leaderboards.tables import BoardCell, Table

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
"""A name; nothing is fetched from there."""

INK = "currentColor"
"""Colour of all text and lines: black in a file, that of the page's theme in the page."""

FAINT = "#8888"

COLOURS = {
    "svd": "#999999",
    "asvd-hessian": "#e69f00",
    "asvd-l1": "#a6761d",
    "asvd-l2": "#009e73",
    "asvd-cov": "#cc79a7",
    "asvd-rootcov": "#2b8cd6",
    "latentllm": "#d55e00",
}
"""After Okabe and Ito: told apart by the colour-blind, on light and on dark ground."""

OTHERS = ("#7b6fd0", "#17a2b8", "#8a9a00", "#b5485d", "#5f7f95", "#c2855a")

SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right")


ABOUT = "about"
"""Field of a point: the lines that tell a reader what it is."""

BY_LEGEND = {
    "name": "chosen",
    "select": {"type": "point", "fields": ["method"]},
    "bind": "legend",
}
"""The parameter that lets a reader choose a method in the legend."""

HEIGHT = 240
"""Of a chart's plot, in pixels."""


@dataclass(frozen=True)
class Figure:
    """``name`` is that of a file, ``notes`` are sentences that explain it.

    ``spec`` is Vega-Lite whose width is still open.
    """

    section: int
    name: str
    title: str
    notes: tuple[str, ...]
    spec: Spec

    def sized(self, width: int | str, background: str | None) -> Spec:
        """The specification, complete: ``width`` in pixels or ``container``."""
        title = visible(self.title)
        return {**self.spec, "description": title, "width": width, "background": background}


def slug(*parts: str) -> str:
    """A file name of lower-case letters, digits and hyphens."""
    words = (re.sub(r"[^a-z0-9.]+", "-", part.lower()) for part in parts)
    short = (re.sub(r"\.+", ".", word).strip("-.")[:40] for word in words)
    return "-".join(filter(None, short))


def labels(tables: Iterable[Table]) -> list[str]:
    """Of all methods, in the order in which they stand in a table."""
    return list(dict.fromkeys(row.label for table in tables for row in table.rows))


def colour_scale(methods: Sequence[str]) -> Spec:
    """A colour for each label: a method's own, the next free one for its variants and others."""
    taken: set[str] = set()
    colours = []
    for index, label in enumerate(methods):
        own = COLOURS.get(method_of(label), "")
        free = [colour for colour in OTHERS if colour not in taken] or [OTHERS[index % len(OTHERS)]]
        colours.append(own if own and own not in taken else free[0])
        taken.add(colours[-1])
    return {"domain": list(methods), "range": colours}


def shape_scale(names: Sequence[str]) -> Spec:
    """A shape for each name, again from the first where they run out."""
    return {
        "domain": list(names),
        "range": [SHAPES[i % len(SHAPES)] for i in range(len(names))],
    }


def value_axis(table: Table) -> Spec:
    """The channel of a value: percent for an accuracy, logarithmic for a perplexity."""
    axis: Spec = {"format": "~s"}
    if table.unit == QUESTIONS:
        return {"axis": {"format": ".0%"}, "scale": {"domain": [0, 1]}, "title": "accuracy"}
    if table.metric.startswith("perplexity"):
        scale = {"type": "log", "nice": False, "padding": 8}
        return {"axis": axis, "scale": scale, "title": table.metric}
    return {"axis": axis, "scale": {"zero": False}, "title": table.metric}


def spread(cell: BoardCell) -> tuple[float, float] | None:
    """Ends of an error bar: over seeds, else the 95% interval, else 1.96 standard errors."""
    if cell.spread is not None:
        return cell.value - cell.spread, cell.value + cell.spread
    if cell.interval or cell.stderr is None:
        return cell.interval
    return cell.value - 1.96 * cell.stderr, cell.value + 1.96 * cell.stderr


BARS = (
    "Error bars: 95% interval of the run; where several seeds were run, the mean with its "
    "standard deviation over seeds. The interval is about the choice of test data, which is the "
    "same for all methods: two methods can differ clearly though their intervals overlap "
    "(harness diff compares them sample by sample)."
)


def configured(title: str, subtitle: str, content: Spec) -> Spec:
    """``content`` with its title, in the common style, all names on one line and visible.

    The libraries that draw do not survive every character.
    """
    return {
        "title": {"text": visible(title), "subtitle": visible(subtitle)},
        **_visible(content),
        "$schema": SCHEMA,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": _CONFIG,
    }


def _visible(value: Any) -> Any:
    """Every string of a specification made ``visible``; the lines of ``about`` become one text."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {
            key: "\n".join(map(visible, part)) if key == ABOUT else _visible(part)
            for key, part in value.items()
        }
    return [_visible(part) for part in value] if isinstance(value, (list, tuple)) else value


_FONT = "system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"

_CONFIG: Spec = {
    "font": _FONT,
    "title": {
        "color": INK,
        "subtitleColor": INK,
        "anchor": "start",
        "fontSize": 13,
        "subtitleFontSize": 11,
        "limit": 380,
        "offset": 10,
    },
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "domainColor": INK,
        "tickColor": INK,
        "gridColor": FAINT,
        "gridOpacity": 0.35,
        "titleFontWeight": "normal",
        "titleLimit": 220,
        "labelLimit": 180,
        "tickCount": 6,
        "labelOverlap": "greedy",
    },
    "legend": {
        "labelColor": INK,
        "titleColor": INK,
        "titleFontWeight": "normal",
        "orient": "bottom",
        "columns": 3,
        "labelLimit": 150,
        "symbolLimit": 0,
        "symbolOpacity": 1,
    },
    "view": {"stroke": None},
    "line": {"strokeWidth": 1.8},
}
