"""Penn Treebank (test split) as the compression papers read it.

Source: Marcus et al., Building a Large Annotated Corpus of English, Computational Linguistics
19(2), 1993.
"""

from __future__ import annotations

from tasks.text_perplexity import PerplexityConfig, TextPerplexity, lines


def rows(text: str) -> list[str]:
    """The rows of the data set in the text of ``ptb.test.txt``: its lines without outer spaces."""
    return [line.strip() for line in lines(text)]


plugin = TextPerplexity(
    summary="token perplexity of the Penn Treebank test split",
    config=PerplexityConfig,
    reference="ptb",
    separator=" ",
    cut=rows,
)
