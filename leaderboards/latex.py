"""A board as LaTeX: a document to compile, whose tables can be taken one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from harness.support.markdown import visible
from leaderboards.breakdown import ABSENT, Breakdown, breakdowns
from leaderboards.conditions import caveats, conditions, legend, models
from leaderboards.numbers import percent, rounded
from leaderboards.published import source
from leaderboards.tables import (
    Board,
    BoardCell,
    Column,
    Table,
    Unranked,
    columns_of,
    left_out,
    ratio_spans,
)

PREAMBLE = r"""% Compiles with pdflatex, lualatex and xelatex.
\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp}
\usepackage[landscape,margin=2cm]{geometry}
\usepackage{booktabs,longtable}
\setlength{\LTcapwidth}{0.9\linewidth}
\begin{document}"""

BREAK = r" \\"

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}", "`": r"\textasciigrave{}", "±": r"\textpm{}",
    "[": "{[}", "*": "{*}",  # both mean something else at the beginning of a line of a table
}  # fmt: skip
_LIGATURES = re.compile("(?<=-)(?=-)|(?<=,)(?=,)")
_LATIN = re.compile("[\xc0-\xd6\xd8-\xf6\xf8-\xff]")


def render(board: Board) -> str:
    """LaTeX text; equal boards give equal bytes."""
    lines = [PREAMBLE]
    for number, tables in enumerate(board.sections, start=1):
        lines += ["", *_section(number, tables)]
        for table in tables:
            for breakdown in breakdowns(table):
                lines += ["", *_breakdown(number, table, breakdown)]
    if board.unranked:
        lines += ["", *_unranked(board.unranked)]
    return "\n".join([*lines, "", r"\end{document}"]) + "\n"


def escape(name: str) -> str:
    """``name`` as text: no command, no ligature; characters beyond Latin-1 by their number."""
    return _LIGATURES.sub("{}", "".join(map(_character, visible(name))))


def _character(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    if char.isascii() or _LATIN.fullmatch(char):
        return char
    return rf"\texttt{{U+{ord(char):04X}}}"


def _section(number: int, tables: Sequence[Table]) -> Iterator[str]:
    columns = columns_of(tables)
    yield rf"\begin{{longtable}}{{l{'r' * len(columns)}}}"
    yield rf"\caption{{{' '.join(_caption(number, tables))}}}{BREAK}"
    yield r"\toprule"
    yield from _header(columns, several=len(tables[0].data) > 1)
    for table in tables:
        yield r"\midrule"
        yield rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{{_dense(table)}}}{BREAK}"
        for row in table.rows:
            values = (_value(cell) if cell else "" for cell in table.across(row, columns))
            yield _line([escape(row.title), *values])
    yield r"\bottomrule"
    yield r"\end{longtable}"


def _caption(number: int, tables: Sequence[Table]) -> Iterator[str]:
    yield escape(f"Section {number}: {tables[0].tasks}, by share of parameters removed.")
    yield from (escape(f"{term}: {text}.") for term, text in conditions(tables))
    for model, notes in models(tables):
        yield from map(escape, (f"Model: {model}.", *(f"{note}." for note in notes)))
    yield from map(escape, caveats(tables))
    yield from (escape(f"{text}.") for text in legend())
    yield escape(f"In brackets as printed in {source()}.")


def _header(columns: Sequence[Column], *, several: bool) -> Iterator[str]:
    spans = [
        rf"\multicolumn{{{n}}}{{c}}{{{escape(percent(ratio))}}}"
        for ratio, n in ratio_spans(columns)
    ]
    yield _line(["Compression", *spans])
    if several:
        yield _line(["", *(escape(column.task) for column in columns)])


def _dense(table: Table) -> str:
    cells = [
        f"{escape(dense.task)}: {' or '.join(map(_value, dense.cells))}" for dense in table.dense
    ]
    return f"{escape(table.name)} ({', '.join(cells) or 'not measured'})"


def _breakdown(number: int, table: Table, breakdown: Breakdown) -> Iterator[str]:
    notes = " ".join(breakdown.notes)
    yield rf"\begin{{longtable}}{{lr{'r' * len(breakdown.headings)}}}"
    caption = escape(f"Section {number}: {breakdown.task} by slice, {table.name}. {notes}")
    yield rf"\caption{{{caption}}}{BREAK}"
    yield r"\toprule"
    yield _line(["Method", "Compression", *map(escape, breakdown.headings)])
    yield r"\midrule"
    for row, column, cell in breakdown.places:
        values = (_value(part) if part else ABSENT for part in breakdown.values(cell))
        yield _line([escape(row.title), escape(percent(column.ratio)), *values])
    yield r"\bottomrule"
    yield r"\end{longtable}"


def _unranked(results: Sequence[Unranked]) -> Iterator[str]:
    width = "p{0.15\\linewidth}"
    yield rf"\begin{{longtable}}{{{width * 3}rp{{0.1\linewidth}}p{{0.25\linewidth}}}}"
    yield rf"\caption{{{escape(left_out(results))}.}}{BREAK}"
    yield r"\toprule"
    yield _line(["Record", "Model", "Method", "Ratio", "Task", "Reason"])
    yield r"\midrule"
    for result in results:
        ratio = percent(result.ratio) if result.model else ""
        subject = (result.run_id, result.model, result.method, ratio)
        yield _line(map(escape, (*subject, result.task, result.reason)))
    yield r"\bottomrule"
    yield r"\end{longtable}"


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + BREAK


def _value(cell: BoardCell) -> str:
    def shown(number: float) -> str:
        return rounded(number, cell.metric, cell.unit)

    text = ("{*}" if cell.better_than_dense else "") + shown(cell.value)
    if cell.spread is not None:
        text += rf" \textpm{{}} {shown(cell.spread)}"
    style = r"\textbf" if cell.best else r"\textit" if cell.tied else ""
    measured = f"{style}{{{text}}}" if style else text
    return measured if cell.published is None else f"{measured} ({shown(cell.published)})"
