"""A board in each format it can be had in: names of files and what is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from leaderboards import csvboard, jsonboard, latex, markdown
from leaderboards.figures import draw
from leaderboards.figures.all import figures
from leaderboards.tables import Board

FIGURES = "figures"
"""The folder of drawings."""

Files = Iterator[tuple[str, bytes]]


def _single(name: str, render: Callable[[Board], str]) -> Callable[[Board], Files]:
    def files(board: Board) -> Files:
        yield name, render(board).encode()

    return files


def _page(board: Board) -> str:
    from leaderboards.page.page import render  # noqa: PLC0415 - Jinja2 is for this format alone

    return render(board)


def _svg(board: Board) -> Files:
    for figure in figures(board):
        yield f"{FIGURES}/{figure.name}.svg", draw.svg(figure).encode()


def _png(board: Board) -> Files:
    for figure in figures(board):
        yield f"{FIGURES}/{figure.name}.png", draw.png(figure)


FORMATS: dict[str, Callable[[Board], Files]] = {
    "md": _single("leaderboard.md", markdown.render),
    "json": _single("leaderboard.json", jsonboard.render),
    "html": _single("leaderboard.html", _page),
    "latex": _single("leaderboard.tex", latex.render),
    "csv": _single("leaderboard.csv", csvboard.render),
    "svg": _svg,
    "png": _png,
}


def rendered(board: Board, formats: Iterable[str]) -> Files:
    """Path, relative and with slashes, and content of every file of ``formats``.

    Equal boards give equal bytes.

    Raises:
        UsageError: html, svg or png without the library that draws.
    """
    for name in dict.fromkeys(formats):
        yield from FORMATS[name](board)
