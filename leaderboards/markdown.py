"""A board as markdown."""

from __future__ import annotations

from harness.support.markdown import escape
from leaderboards.details import details, unranked
from leaderboards.published import source
from leaderboards.section import section
from leaderboards.tables import Board


def render(board: Board) -> str:
    """Markdown text; equal boards give equal bytes."""
    legend = (
        "Columns: share of parameters removed, by task. Best of a model and column in **bold**; "
        r"\* better than the dense model under the same conditions; "
        f"(paper ...) as printed in {escape(source())}."
    )
    sections = board.sections
    lines = ["# Leaderboard", "", legend]
    for number, tables in enumerate(sections, start=1):
        lines += ["", *section(number, tables)]
    if board.unranked:
        lines += ["", "## Not ranked", "", *unranked(board.unranked)]
    if sections:
        lines += ["", "## Details", "", *details(sections)]
    return "\n".join(lines) + "\n"
