"""C4 (first shard of the validation split) as the compression papers read it.

Source: Raffel et al., Exploring the Limits of Transfer Learning, https://arxiv.org/abs/1910.10683.
"""

from __future__ import annotations

from tasks.text_perplexity import PerplexityConfig, TextPerplexity, lines


def documents(text: str) -> list[str]:
    """The documents of a plain text: one on each line, blank lines none."""
    return [line.rstrip("\n") for line in lines(text) if line.strip()]


plugin = TextPerplexity(
    summary="token perplexity of the start of C4's first validation shard",
    config=PerplexityConfig,
    reference="c4",
    separator=" ",
    max_documents=1100,
    max_windows=256,
    cut=documents,
)
