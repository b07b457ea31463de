"""WikiText-2 (raw, test split) as the compression papers read it.

Source: Merity et al., Pointer Sentinel Mixture Models, https://arxiv.org/abs/1609.07843.
"""

from __future__ import annotations

from tasks.text_perplexity import PerplexityConfig, TextPerplexity

plugin = TextPerplexity(
    summary="token perplexity of the WikiText-2 test split",
    config=PerplexityConfig,
    reference="wikitext2",
    separator="\n\n",
)
