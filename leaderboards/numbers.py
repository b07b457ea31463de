"""Numbers as the paper prints them."""

from __future__ import annotations


def rounded(value: float, metric: str) -> str:
    """One decimal for a perplexity (``2.4e5`` from 10,000 on), else four significant digits."""
    if not metric.startswith("perplexity"):
        return f"{value:.4g}"
    text = f"{value:.1f}"
    if abs(float(text)) < 1e4:
        return text
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def exact(value: float) -> str:
    """Six significant digits."""
    return f"{value:.6g}"


def percent(ratio: float) -> str:
    """A share as a percentage with no more decimals than it needs, at most four."""
    return f"{100 * ratio:.4f}".rstrip("0").rstrip(".") + "%"
