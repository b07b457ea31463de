"""Questions from local files in the forms that people keep them in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets

from harness.assets.hashing import files_sha256
from harness.errors import AssetError, UsageError
from harness.questions.json_lines import read_json_lines
from harness.questions.rows import QuestionRows
from harness.questions.tables import table_rows

JSON_LINES = (".jsonl", ".json")
SUFFIXES = (*JSON_LINES, ".parquet")
FORMS = "JSON lines (.jsonl) with images beside them, parquet, or a folder saved by datasets"


def read_local(path: Path, split: str, config: str | None, reference: str) -> QuestionRows:
    """The questions of a file or folder.

    Args:
        path: a JSON-lines or parquet file, a folder with such files, or one that ``datasets``
            saved. In a folder those that start with the split's name are read, or else its only
            one; a folder of a configuration, or ``data``, inside it is looked into as well.
        split: which split of several.
        config: which configuration of several.
        reference: what the user asked for.

    Raises:
        UsageError: there is nothing of the kind, or something does not fit.
        AssetError: a file is damaged.
    """
    if (path / "dataset_dict.json").is_file():
        if not (path / split).is_dir():
            splits = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
            raise UsageError(
                f"{path} has no split '{split}', only {', '.join(splits) or 'none'}; pass the "
                "folder of the split you want"
            )
        path /= split
    if (path / "state.json").is_file():
        table = _opened(path, lambda: datasets.load_from_disk(str(path)))
        return _of_table(table, sorted(path.glob("*.arrow")), reference)
    files = [path] if path.is_file() else _files(path, split, config)
    if files[0].suffix.lower() in JSON_LINES:
        if len(files) > 1:
            raise UsageError(f"{path} holds several files; pass one, e.g. {files[0]}")
        return read_json_lines(files[0], reference)
    if files[0].suffix.lower() != ".parquet":
        raise UsageError(f"{path} is no file of questions; pass {FORMS}")
    names = [str(file) for file in files]
    table = _opened(files[0], lambda: datasets.Dataset.from_parquet(names))
    return _of_table(table, files, reference)


def _files(folder: Path, split: str, config: str | None) -> list[Path]:
    folders = [folder, folder / (config or "data"), folder / "data"]
    for inside in folders:
        known = sorted(file for suffix in SUFFIXES for file in inside.glob(f"*{suffix}"))
        named = [file for file in known if file.name.startswith(split)]
        if named or len(known) == 1:
            return named or known
        if known:
            raise UsageError(
                f"{inside} holds {', '.join(file.name for file in known)}; pass one of them, or "
                f"name it {split}{known[0].suffix}"
            )
    raise UsageError(f"{folder} holds no questions; pass {FORMS}")


def _of_table(table: Any, files: Sequence[Path], reference: str) -> QuestionRows:
    return QuestionRows(
        reference=reference,
        rows=table_rows(table, reference),
        columns=frozenset(table.column_names),
        fingerprint=files_sha256(files),
    )


def _opened(path: Path, load: Any) -> Any:
    try:
        return load()
    # The library raises errors of many unrelated types.
    except Exception as error:
        said = str(error.__cause__ or error).splitlines()
        raise AssetError(
            f"{path} is damaged ({said[0] if said else type(error).__name__}); fetch or copy it "
            "again"
        ) from error
