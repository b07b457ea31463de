"""Figures as files, drawn by vl-convert without a browser and without network."""

from __future__ import annotations

import functools
from types import ModuleType

from harness.plugin import UsageError
from leaderboards.figures.figure import Figure

WIDTH = 420
"""Of a drawing, in CSS pixels; twice as many in a PNG."""


def svg(figure: Figure) -> str:
    """SVG text on white ground.

    Raises:
        UsageError: vl-convert is not installed.
    """
    spec = figure.sized(WIDTH, "white")
    text: str = library().vegalite_to_svg(spec, allowed_base_urls=[])
    return text + "\n"


def png(figure: Figure) -> bytes:
    """PNG bytes of the same drawing.

    Raises:
        UsageError: vl-convert is not installed.
    """
    drawing: bytes = library().svg_to_png(svg(figure), scale=2)
    return drawing


@functools.cache
def library() -> ModuleType:
    """vl-convert.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import vl_convert  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            'figures and the page need vl-convert; pip install "harness[page]"'
        ) from error
    return vl_convert
