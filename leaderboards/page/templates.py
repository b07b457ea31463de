"""Templates of a page: what they print is text unless it is said to be markup."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from harness.support.markdown import visible
from leaderboards.breakdown import ABSENT, breakdowns
from leaderboards.conditions import caveats, conditions, legend, models
from leaderboards.figures.figure import INK
from leaderboards.numbers import percent, rounded
from leaderboards.page.markup import link
from leaderboards.page.view import asides, explanations, method_colours
from leaderboards.tables import columns_of, left_out, ratio_spans

GLOBALS = {
    "ABSENT": ABSENT,
    "INK": INK,
    "breakdowns": breakdowns,
    "caveats": caveats,
    "columns_of": columns_of,
    "conditions": conditions,
    "explanations": explanations,
    "left_out": left_out,
    "legend": legend(),
    "method_colours": method_colours,
    "models": models,
    "ratio_spans": ratio_spans,
}
FILTERS = {"asides": asides, "link": link, "percent": percent, "rounded": rounded}


@cache
def environment() -> Environment:
    """Prints escaped, on one line and without characters that cannot be seen."""
    made = Environment(
        loader=FunctionLoader(own),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals.update(GLOBALS)
    made.filters.update(FILTERS)
    # In the order and spelling of the data; the filter makes it harmless inside a script.
    made.policies["json.dumps_kwargs"] = {
        "allow_nan": False,
        "ensure_ascii": False,
        "separators": (",", ":"),
    }
    return made


def own(name: str) -> str:
    """Text of a file of this package."""
    return files("leaderboards.page").joinpath(name).read_text(encoding="utf-8")


def _visible(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
