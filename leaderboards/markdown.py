"""A board as markdown."""

from __future__ import annotations

from harness.support.markdown import escape
from leaderboards.conditions import legend
from leaderboards.details import details, unranked
from leaderboards.published import source
from leaderboards.section import section
from leaderboards.tables import Board, left_out


def render(board: Board) -> str:
    """Markdown text; equal boards give equal bytes."""
    sections = board.sections
    lines = ["# Leaderboard", "", _legend()]
    if board.unranked:
        lines += ["", f"{escape(left_out(board.unranked))}, listed below."]
    for number, tables in enumerate(sections, start=1):
        lines += ["", *section(number, tables)]
    if board.unranked:
        lines += ["", "## Not ranked", "", *unranked(board.unranked)]
    if sections:
        lines += ["", "## Details", "", *details(sections)]
    return "\n".join(lines) + "\n"


def _legend() -> str:
    marks = map(escape, legend())
    return ". ".join(
        [
            "Columns: share of parameters removed, by task",
            *marks,
            f"(paper ...) as printed in {escape(source())}.",
        ]
    )
