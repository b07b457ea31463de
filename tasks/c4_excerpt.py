"""A short excerpt of C4 web text that needs no hub: quick, and complete as it is."""

from __future__ import annotations

from tasks.text_perplexity import ExcerptConfig, TextPerplexity

plugin = TextPerplexity(
    summary="token perplexity of a short excerpt of C4 web text; needs no hub",
    config=ExcerptConfig,
    reference="c4-excerpt",
    separator="\n\n",
    max_windows=24,
)
