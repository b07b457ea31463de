"""A verdict as markdown and as JUnit XML."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from harness.gate.verdict import CellVerdict, Verdict
from harness.support.markdown import escape, markdown_table

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
HEAD = ("cell", "baseline", "candidate", "loss", "fails above", "verdict")


def numbers(cell: CellVerdict) -> tuple[str, str, str, str]:
    """Baseline, candidate, loss with its interval, and the minimum, as text."""
    loss = "" if cell.loss is None else _signed(cell.loss)
    if cell.interval:
        loss += f" ({' to '.join(map(_signed, cell.interval))})"
    minimum = "" if cell.minimum is None else f"{cell.minimum:.2%}"
    return _number(cell.baseline), _number(cell.candidate), loss, minimum


def markdown(verdict: Verdict) -> str:
    """A section for a pull request or a job summary."""
    rows = (
        (escape(cell.title), *numbers(cell), f"**{cell.outcome}**: {escape(cell.reason)}")
        for cell in verdict.cells
    )
    lines = [
        f"### Regression gate: {verdict.summary()}",
        "",
        _explained(verdict),
        "",
        *markdown_table(HEAD, "|---|--:|--:|--:|--:|---|", rows),
    ]
    return "\n".join(lines) + "\n"


def junit(verdict: Verdict, *, strict: bool) -> str:
    """One test case a cell; what is inconclusive counts as skipped, with ``strict`` as failed."""
    suite = ET.Element("testsuite", name="harness gate", tests=str(len(verdict.cells)))
    counts = {"failure": 0, "skipped": 0}
    for cell in verdict.cells:
        case = ET.SubElement(suite, "testcase", classname="harness.gate", name=_xml(cell.title))
        kind = _kind(cell, strict=strict)
        if kind:
            counts[kind] += 1
            ET.SubElement(case, kind, message=_xml(f"{cell.outcome}: {cell.reason}"))
        baseline, candidate, loss, minimum = numbers(cell)
        ET.SubElement(case, "system-out").text = _xml(
            f"{cell.metric}: baseline {baseline}, candidate {candidate}, loss {loss}, "
            f"fails above {minimum}"
        )
    suite.set("failures", str(counts["failure"]))
    suite.set("skipped", str(counts["skipped"]))
    suite.set("errors", "0")
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _explained(verdict: Verdict) -> str:
    return (
        "A loss is a change of the mean (accuracies in points, perplexities as logarithms) over "
        f"the same samples. Intervals have {verdict.confidence:.4%} confidence, so that a false "
        f"alarm in any cell has a chance below {verdict.false_alarm:.0%}."
    )


def _kind(cell: CellVerdict, *, strict: bool) -> str | None:
    if cell.outcome == "fail" or (strict and cell.outcome == "inconclusive"):
        return "failure"
    return None if cell.outcome == "pass" else "skipped"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _signed(effect: float) -> str:
    return f"{round(effect, 4) + 0.0:+.2%}"  # adding zero turns -0.0 into 0.0


def _xml(text: str) -> str:
    """Without characters that XML cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
