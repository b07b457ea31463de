"""A board as an HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import groupby

from leaderboards.breakdown import breakdowns
from leaderboards.conditions import caveats, conditions, models
from leaderboards.figures.all import figures
from leaderboards.figures.draw import library
from leaderboards.figures.figure import Figure
from leaderboards.page.markup import data, source_hash, text
from leaderboards.page.records import documents
from leaderboards.page.tables import method_colours, ranking, slices, unranked
from leaderboards.published import source
from leaderboards.tables import Board, Table

SCRIPTS = ("tables.js", "records.js", "charts.js")

LEGEND = (
    "Columns: share of parameters removed. Best of a model and column in bold; * better than the "
    "dense model under the same conditions; ± standard error, or standard deviation over seeds; "
    "paper: as printed in {}. Every value leads to the record behind it."
)


def render(board: Board) -> str:
    """HTML text; equal boards give equal bytes.

    Raises:
        UsageError: vl-convert, which carries the charting library, is not installed.
    """
    style = _own("page.css")
    scripts = [library().javascript_bundle(), *map(_own, SCRIPTS)]
    drawn = {number: list(run) for number, run in groupby(figures(board), lambda f: f.section)}
    lines = [*_head(style, scripts), *_top(board)]
    for number, tables in enumerate(board.sections, start=1):
        lines += _section(number, tables, drawn.get(number, []))
    if board.unranked:
        lines += ['<section id="unranked"><h2>Not ranked</h2>', *unranked(board.unranked)]
        lines += ["</section>"]
    lines += _bottom(board)
    lines += [f"<script>{script}</script>" for script in scripts]
    return "\n".join([*lines, "</body>", "</html>"]) + "\n"


def _own(name: str) -> str:
    return files("leaderboards.page").joinpath(name).read_text(encoding="utf-8")


def _head(style: str, scripts: Sequence[str]) -> Iterator[str]:
    # Nothing is loaded from anywhere, and only what stands here runs: each script and the style by
    # its hash, no inline handler, no eval (Vega runs its expressions through an interpreter).
    policy = (
        f"default-src 'none'; style-src {source_hash(style)}; "
        f"script-src {' '.join(map(source_hash, scripts))}; base-uri 'none'; form-action 'none'"
    )
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield f"<title>Leaderboard</title>\n<style>{style}</style>\n</head>\n<body>"


def _top(board: Board) -> Iterator[str]:
    sections = [
        (f"s{number}", f"{number}. {', '.join(one.task for one in tables[0].data)}")
        for number, tables in enumerate(board.sections, start=1)
    ]
    if board.unranked:
        sections.append(("unranked", "Not ranked"))
    sections.append(("records", "All records"))
    yield '<a class="skip" href="#main">Skip to the tables</a>'
    yield f"<header><h1>Leaderboard</h1><p>{_counts(board)}</p>"
    yield '<nav aria-label="Sections"><ul>'
    yield from (f'<li><a href="#{anchor}">{text(name)}</a></li>' for anchor, name in sections)
    yield f'</ul></nav><p class="legend">{text(LEGEND.format(source()))}</p></header>'
    yield '<main id="main">'
    yield '<p id="without-scripts">Without scripts the tables stand as they are; sorting, filters, '
    yield "charts and records need them. The charts are also files (harness leaderboard --format "
    yield "svg png), every value is in the CSV file (--format csv).</p>"


def _counts(board: Board) -> str:
    counts = {
        "record": len(board.records),
        "model": len({table.model.fingerprint for table in board.tables}),
        "method": len({row.label for table in board.tables for row in table.rows}),
        "task": len({one.task for table in board.tables for one in table.data}),
    }
    counted = [f"{n:,} {name}{'' if n == 1 else 's'}" for name, n in counts.items()]
    return ", ".join([*counted, f"{len(board.unranked):,} not ranked"])


def _section(number: int, tables: Sequence[Table], drawn: Sequence[Figure]) -> Iterator[str]:
    tasks = ", ".join(one.task for one in tables[0].data)
    yield f'<section id="s{number}"><h2>{number}. {text(tasks)}</h2>'
    yield '<dl class="conditions">'
    yield from (f"<dt>{term}</dt><dd>{text(what)}</dd>" for term, what in conditions(tables))
    for model, notes in models(tables):
        more = "".join(f"<br>{text(note)}" for note in notes)
        yield f"<dt>Model</dt><dd>{text(model)}{more}</dd>"
    yield "</dl>"
    yield from (f"<p>{text(caveat)}</p>" for caveat in caveats(tables))
    yield from ranking(tables, f"{tasks} by share of parameters removed")
    for table in tables:
        for one in breakdowns(table):
            caption = f"{one.task} by slice: {', '.join(table.model.references)}"
            yield f"<h3>{text(caption)}</h3>"
            yield from slices(one, method_colours([table]), caption)
            yield f'<p class="note">{text(" ".join(one.notes))}</p>'
    if drawn:
        explained = dict.fromkeys(note for figure in drawn for note in figure.notes)
        yield '<div class="charts">'
        yield from map(_chart, drawn)
        yield '</div><ul class="note">'
        yield from (f"<li>{text(note)}</li>" for note in explained)
        yield "</ul>"
    yield "</section>"


def _chart(figure: Figure) -> str:
    spec = data(figure.sized("container", None))
    plot = f'<div class="plot" role="group" aria-label="{text(figure.title)}"></div>'
    return f'<figure class="chart">{plot}{spec}</figure>'


def _bottom(board: Board) -> Iterator[str]:
    yield '<section id="records"><h2>All records</h2><div id="records-table"></div></section>'
    yield "</main>"
    yield '<dialog id="record" aria-labelledby="record-title"></dialog>'
    yield data(documents(board), id="data")
