"""What the messages of libraries mean to who reads the number they were heard with."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.plugin import Caution
from tasks.eval_libraries.heard import Heard

CHANGING = {
    "empty prompts": r"applied prompt returns empty string",
    "labels that are no choice": r"label index was not in within range",
    "padding on the wrong side": r"right-padding was detected",
    "no attention mask": r"attention mask is not set|attention mask and the pad token id",
    "documents left out": r"found no docs|injected .* padding request",
}
"""Messages that change a number, by the kind of caution they are."""

NOISE = re.compile(
    # How we call the library, which is meant so.
    r"model kwarg is not of type|already-initialized model|overwriting default num_fewshot"
    # What we count ourselves, from facts.
    r"|left truncation applied|combined length of context|truncating context from"
    r"|fewshot_split is none|using test_docs as fewshot_docs|using validation_docs as fewshot"
    r"|sequence length is longer than the specified maximum"
    # What a task file leaves to defaults, which are part of its fingerprint.
    r"|but aggregation is not|but higher_is_better is not|no filter defined"
    r"|have whitespace"
    # What transformers says of generation whatever one does.
    r"|setting `pad_token_id`|generation flags are not valid|have been set.*max_length",
    re.IGNORECASE,
)
MOST = 5
"""How many different messages of no known class a record holds."""


def cautions(heard: Heard) -> Iterator[Caution]:
    """What is worth knowing of ``heard``: known kinds first, then other messages, as advice."""
    known: dict[str, int] = {}
    others: list[tuple[str, int]] = []
    for (speaker, message), count in heard.said.items():
        kind = _changing(message)
        if kind:
            known[kind] = known.get(kind, 0) + count
        elif not NOISE.search(message):
            others.append((f"{speaker}: {message[:200]}", count))
    for kind, count in known.items():
        yield Caution(kind=kind, effect="changes the number", count=count, text=f"{kind}: {count}")
    for text, count in others[:MOST]:
        yield Caution(kind="message of a library", effect="advice", count=count, text=text)
    if rest := others[MOST:]:
        total = sum(count for _, count in rest)
        text = f"{total} more messages of {len(rest)} kinds"
        yield Caution(kind="message of a library", effect="advice", count=total, text=text)


def _changing(message: str) -> str | None:
    kinds = (kind for kind, text in CHANGING.items() if re.search(text, message, re.IGNORECASE))
    return next(kinds, None)
