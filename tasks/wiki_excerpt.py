"""A short Wikipedia excerpt that needs no hub: quick, and complete as it is."""

from __future__ import annotations

from tasks.text_perplexity import ExcerptConfig, TextPerplexity

plugin = TextPerplexity(
    summary="token perplexity of a short Wikipedia excerpt; needs no hub",
    config=ExcerptConfig,
    reference="wiki-excerpt",
    separator="\n\n",
    max_windows=24,
)
