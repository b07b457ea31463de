"""The paper's Table 2: what OPT-6.7B costs, dense and compressed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files


@cache
def table2() -> Mapping[float, Mapping[str, float]]:
    """Its rows by ratio, columns named with their units."""
    text = files("leaderboards").joinpath("published.json").read_text(encoding="utf-8")
    rows: list[dict[str, float]] = json.loads(text)["table2"]
    return {row["ratio"]: {k: v for k, v in row.items() if k != "ratio"} for row in rows}
