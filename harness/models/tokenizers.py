"""Opening tokenizers, whose files may hold patterns that their library cannot cope with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from harness.errors import AssetError, HarnessError
from harness.support.library_errors import described
from harness.support.panics import INTERRUPTS, panics_unreported


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer saved in ``folder``; where it fails on a text, ``AssetError`` says so."""
    tokenizer: Any
    with panics_unreported():
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    # The library's one way from texts to ids.
    tokenizer._encode_plus = _Guarded(tokenizer._encode_plus, folder)  # noqa: SLF001
    return tokenizer


class _Guarded:
    """``encode`` with its panics as errors; an object, so that a tokenizer can be copied."""

    def __init__(self, encode: Any, folder: Path) -> None:
        self.encode = encode
        self.folder = folder

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        try:
            with panics_unreported():
                return self.encode(*arguments, **options)
        # By a pattern, or by a setting that is none.
        except BaseException as error:
            if isinstance(error, (HarnessError, MemoryError, *INTERRUPTS)):
                raise
            raise AssetError(
                f"the tokenizer of {self.folder} fails on a text ({described(error)}); correct its "
                "files, or fetch or copy them again"
            ) from error
