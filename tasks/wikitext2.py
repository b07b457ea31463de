"""WikiText-2 (raw, test split) as the compression papers read it.

Source: Merity et al., Pointer Sentinel Mixture Models, https://arxiv.org/abs/1609.07843.
"""

from __future__ import annotations

import re

from tasks.text_perplexity import PerplexityConfig, TextPerplexity, lines

SEPARATOR = "\n\n"
_JOINED = re.compile(r"([^\n]+\n)?(\n\n([^\n]+\n)?)*")


def rows(text: str) -> list[str]:
    """The rows of the data set in the text of ``wiki.test.raw``: its lines, blank ones empty.

    Rows that are joined already, in which two lines of text always stand three or more line ends
    apart, are left as they are.
    """
    if _JOINED.fullmatch(text):
        return [text]
    return [line if line.strip() else "" for line in lines(text)]


plugin = TextPerplexity(
    summary="token perplexity of the WikiText-2 test split",
    config=PerplexityConfig,
    reference="wikitext2",
    separator=SEPARATOR,
    cut=rows,
)
