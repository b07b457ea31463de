"""Numbers as the paper prints them."""

from __future__ import annotations

QUESTIONS = "questions"
"""The unit of an accuracy that is a share of 1 in a record and a percentage on the page."""


def rounded(value: float, metric: str, unit: str) -> str:
    """As the paper does.

    Two decimals of a percentage for an accuracy over questions, one decimal for a perplexity
    (``2.4e5`` from 10,000 on), else four significant digits.
    """
    if unit == QUESTIONS:
        return f"{100 * value:.2f}"
    if not metric.startswith("perplexity"):
        return f"{value:.4g}"
    text = f"{value:.1f}"
    if abs(float(text)) < 1e4:
        return text
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def exact(value: float, unit: str) -> str:
    """Six significant digits, in percent where ``rounded`` is."""
    return f"{100 * value:.6g}%" if unit == QUESTIONS else f"{value:.6g}"


def percent(ratio: float) -> str:
    """A share as a percentage with no more decimals than it needs, at most four."""
    return f"{100 * ratio:.4f}".rstrip("0").rstrip(".") + "%"
