"""A board as an HTML page."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from markupsafe import Markup

from leaderboards.figures.all import figures
from leaderboards.figures.draw import library
from leaderboards.page.markup import source_hash
from leaderboards.page.records import documents
from leaderboards.page.templates import environment, own
from leaderboards.published import source
from leaderboards.tables import Board

SCRIPTS = ("tables.js", "records.js", "charts.js")


def render(board: Board) -> str:
    """HTML text; equal boards give equal bytes.

    Raises:
        UsageError: vl-convert, which carries the charting library, is not installed.
    """
    style = own("page.css")
    scripts = [library().javascript_bundle(), *map(own, SCRIPTS)]
    return (
        environment()
        .get_template("page.html")
        .render(
            board=board,
            counts=_counts(board),
            source=source(),
            figures={
                number: list(drawn)
                for number, drawn in groupby(figures(board), lambda figure: figure.section)
            },
            documents=documents(board),
            policy=_policy(style, scripts),
            # Ours and those of the charting library: markup as they are.
            style=Markup(style),  # noqa: S704
            scripts=[Markup(script) for script in scripts],  # noqa: S704
        )
    )


def _policy(style: str, scripts: Iterable[str]) -> str:
    """What the page may do.

    Nothing is loaded from anywhere, and only what stands here runs: each script and the style by
    its hash, no inline handler, no eval (Vega runs its expressions through an interpreter).
    """
    return (
        f"default-src 'none'; style-src {source_hash(style)}; "
        f"script-src {' '.join(map(source_hash, scripts))}; base-uri 'none'; form-action 'none'"
    )


def _counts(board: Board) -> str:
    counts = {
        "record": len(board.records),
        "model": len({table.model.fingerprint for table in board.tables}),
        "method": len({row.label for table in board.tables for row in table.rows}),
        "task": len({data.task for table in board.tables for data in table.data}),
    }
    counted = [f"{n:,} {name}{'' if n == 1 else 's'}" for name, n in counts.items()]
    return ", ".join([*counted, f"{len(board.unranked):,} not ranked"])
