"""A tokenizer as GGUF files hold it, in the words of llama.cpp."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gguf
from transformers import PreTrainedTokenizerBase

from harness.errors import UsageError

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
_WORDS_AND_BYTES = _BYTES | {"use_regex": True}


def _split(pattern: str) -> dict[str, Any]:
    kind = {"type": "Split", "behavior": "Isolated", "invert": False}
    return kind | {"pattern": {"Regex": pattern}}


PRE_TOKENIZERS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "gpt-2": [_WORDS_AND_BYTES],
    "smollm": [{"type": "Digits", "individual_digits": True}, _WORDS_AND_BYTES],
    "qwen2": [_split(_WORDS.format(digits="")), _BYTES],
    "llama-bpe": [_split(_WORDS.format(digits="{1,3}")), _BYTES],
}
"""llama.cpp's names for ways to split a text before pairs are merged, which no file names."""

_TAKES_WHOLE_WORDS = {"llama-bpe"}
"""Where a word that is a token stays whole, whatever the merges say."""


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Write all that ``tokenizer`` is into the metadata.

    Args:
        writer: of the file.
        tokenizer: byte-level, with merges.
        rows: of the embedding; tokens beyond have none, and rows beyond the tokens no token.

    Raises:
        UsageError: it splits texts, or adds tokens to them, in a way that has no name in GGUF.
    """
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer(content))
    tokens, kinds = _tokens(tokenizer, content, rows)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    merges = content["model"]["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    for number, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.eos_token_id, writer.add_eos_token_id),
        (tokenizer.unk_token_id, writer.add_unk_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
    ):
        if number is not None and number < rows:
            add(number)
    before, after = _surroundings(tokenizer)
    writer.add_add_bos_token(before)
    writer.add_add_eos_token(after)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def pre_tokenizer(content: Mapping[str, Any]) -> str:
    """llama.cpp's name for how a ``tokenizer.json`` splits texts.

    Raises:
        UsageError: it is not byte-level with merges, or is split in none of the known ways.
    """
    model, splitting = content["model"], content["pre_tokenizer"] or {}
    normaliser = (content["normalizer"] or {}).get("type")
    steps = [
        {key: value for key, value in step.items() if key != "trim_offsets"}
        for step in splitting.get("pretokenizers", [splitting])
    ]
    parts = [model.get(key) for key in ("dropout", "byte_fallback", "end_of_word_suffix")]
    if model["type"] == "BPE" and not any(parts) and normaliser in {None, "NFC"}:
        for name, known in PRE_TOKENIZERS.items():
            whole_words = name in _TAKES_WHOLE_WORDS
            if steps == known and bool(model.get("ignore_merges")) == whole_words:
                return name
    raise UsageError(
        "the tokenizer splits texts in a way that is none of "
        f"{', '.join(PRE_TOKENIZERS)}, the names for it in GGUF that are known here; pass --dense "
        "and convert that folder with llama.cpp's own script"
    )


def _tokens(
    tokenizer: PreTrainedTokenizerBase, content: Mapping[str, Any], rows: int
) -> tuple[list[str], list[int]]:
    """Text and kind of the token of every row."""
    texts = {number: text for text, number in tokenizer.get_vocab().items()}
    kind = gguf.TokenType
    kinds = {
        token["id"]: kind.CONTROL if token["special"] else kind.USER_DEFINED
        for token in content["added_tokens"]
    }
    return (
        [texts.get(number, f"<unused {number}>") for number in range(rows)],
        [
            int(kinds.get(number, kind.NORMAL) if number in texts else kind.UNUSED)
            for number in range(rows)
        ],
    )


def _surroundings(tokenizer: PreTrainedTokenizerBase) -> tuple[bool, bool]:
    """Whether the first and the last token of a text are those for begin and end.

    Raises:
        UsageError: others are added.
    """
    plain = tokenizer("a", add_special_tokens=False).input_ids
    whole = tokenizer("a").input_ids
    begin, end = [tokenizer.bos_token_id], [tokenizer.eos_token_id]
    for before, after in ((False, False), (True, False), (False, True), (True, True)):
        if whole == begin * before + plain + end * after:
            return before, after
    raise UsageError(
        "the tokenizer adds other tokens to a text than those for its begin and end, for which "
        "GGUF has no place; pass --dense"
    )
