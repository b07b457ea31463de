"""Records on disk: one file per cell, whole or absent, sealed with its digest.

``python -m harness.records.store`` prints the published schema (``record.schema.json`` beside it).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import from_json

from harness.errors import InfrastructureError, UsageError
from harness.records.document import digest
from harness.records.record import SCHEMA_VERSION, RunRecord
from harness.support.files import cannot_write, write_file
from harness.support.regular_files import require_regular

_AGAIN = "restore it from a copy, or delete it and run the cell again"


class Problem(NamedTuple):
    """A file that is no usable record, and why; ``message`` does not repeat the path."""

    path: Path
    message: str


class _DamagedError(Exception):
    """The content of a file is not a sound record."""


def save(record: RunRecord, folder: Path) -> Path:
    """Seal ``record`` and write ``<folder>/<run_id>.json``, whole or not at all.

    Raises:
        UsageError: the run id is not a file name.
        InfrastructureError: the folder cannot be written, or the disk is full.
    """
    path = _path(folder, record.run_id)
    content = record.sealed().model_dump(mode="json")
    text = json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    with _trouble_explained(folder):
        write_file(path, text)
    return path


def require_writable(folder: Path) -> None:
    """Fail before the work is done rather than after it.

    Raises:
        InfrastructureError: the folder cannot be written, or the disk is full.
    """
    with _trouble_explained(folder), tempfile.TemporaryFile(dir=folder):
        pass


def load(path: Path) -> RunRecord:
    """Read one record and check it against its digest.

    Raises:
        UsageError: there is no such file, it is damaged, it was changed after it was written,
            or a newer harness wrote it.
        InfrastructureError: the file cannot be read.
    """
    require_regular(path)
    try:
        return _parse(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"there is no record {path}; check the path") from error
    except OSError as error:
        raise InfrastructureError(
            f"cannot read {path} ({error.strerror or error}); check its permissions"
        ) from error
    except _DamagedError as error:
        raise UsageError(f"{path}: {error}") from error


def scan(folder: Path, *, layers: bool = True) -> Iterator[RunRecord | Problem]:
    """Read the records of ``folder`` one at a time, in the order of the file names.

    Args:
        folder: where the records are.
        layers: with the facts of each layer; without them a file is checked against its digest
            all the same, and read faster.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; pass the one that holds the records")
    paths = sorted(folder.glob("*.json"), key=lambda path: path.name)
    return (_examine(path, layers=layers) for path in paths)


def load_all(folder: Path) -> tuple[list[RunRecord], list[Problem]]:
    """Read every record of ``folder``; ``scan`` does the same in the memory of one record.

    Returns:
        The sound records, and the files that are none.

    Raises:
        UsageError: there is no such folder.
    """
    read = list(scan(folder))
    return (
        [record for record in read if isinstance(record, RunRecord)],
        [problem for problem in read if isinstance(problem, Problem)],
    )


def find(folder: Path, run_id: str) -> RunRecord | None:
    """The record called ``run_id``, or None where there is none.

    Raises:
        UsageError: the file of that name is damaged or holds another record.
        InfrastructureError: the file cannot be read.
    """
    path = _path(folder, run_id)
    if not path.exists():
        return None
    record = load(path)
    if record.run_id != run_id:
        raise UsageError(
            f"{path} holds the record {record.run_id}; rename it to {record.run_id}.json"
        )
    return record


def schema() -> str:
    """JSON Schema (draft 2020-12) of a record file, as published."""
    document = {
        "$schema": GenerateJsonSchema.schema_dialect,
        **RunRecord.model_json_schema(mode="serialization"),
    }
    return json.dumps(document, sort_keys=True, indent=1) + "\n"


@contextlib.contextmanager
def _trouble_explained(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except FileExistsError as error:
        raise InfrastructureError(f"{folder} is a file; choose another folder") from error
    except OSError as error:
        raise cannot_write(f"a record to {folder}", error) from error


def _path(folder: Path, run_id: str) -> Path:
    if not run_id or run_id.startswith(".") or Path(run_id).name != run_id:
        raise UsageError(f"'{run_id}' is not a run id; a run id is 16 hexadecimal digits")
    return folder / f"{run_id}.json"


def _examine(path: Path, *, layers: bool) -> RunRecord | Problem:
    try:
        require_regular(path)
        return _parse(path.read_bytes(), layers=layers)
    except UsageError as error:
        return Problem(path, str(error).removeprefix(f"{path} "))
    except OSError as error:
        return Problem(path, f"cannot be read ({error.strerror or error})")
    except _DamagedError as error:
        return Problem(path, str(error))


def _parse(content: bytes, *, layers: bool = True) -> RunRecord:
    as_written = _is_as_written(content)
    try:
        document = from_json(content if layers or not as_written else _without_layers(content))
    except ValueError as error:
        raise _DamagedError(f"not valid JSON, perhaps cut short ({error}); {_AGAIN}") from error
    if not isinstance(document, dict):
        raise _DamagedError("not a record; move it out of the folder of records")
    version = document.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise _DamagedError(
            f"written in schema version {version}, this harness reads {SCHEMA_VERSION}; "
            "upgrade harness"
        )
    try:
        record = RunRecord.model_validate(document)
    except ValidationError as error:
        raise _DamagedError(f"not a sound record ({_first(error)}); {_AGAIN}") from error
    # The digest is taken from the file, not from the parsed record, so that files stay valid
    # when a later version gives a field a default.
    sealed = document.pop("digest", "")
    if not as_written and digest(document) != sealed:
        raise _DamagedError(f"changed after it was written (digest does not match); {_AGAIN}")
    return record


def _is_as_written(content: bytes) -> bool:
    """Whether a file in the form that ``save`` gives it fits its digest; False proves nothing.

    Taking away the indents and the space behind each key leaves the canonical form, since there
    are no line breaks inside strings: much faster than to compose it anew.
    """
    seal = re.search(rb'\n "digest": "(\w+)",', content)
    if not seal or rb"\": " in content:  # a string with what otherwise stands behind a key only
        return False
    rest = content[: seal.start()] + content[seal.end() :]
    lines = map(bytes.lstrip, rest.split(b"\n"))
    canonical = b"".join(lines).replace(b'": ', b'":')
    return hashlib.sha256(canonical).hexdigest().encode() == seal[1]


def _without_layers(content: bytes) -> bytes:
    """A file in the form that ``save`` gives it without its layers."""
    key = b'\n  "layers": ['
    before, _, rest = content.partition(key + b"\n")
    _, end, after = rest.partition(b"\n  ]")
    return before + key + b"]" + after if end else content


def _first(error: ValidationError) -> str:
    first: Any = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


if __name__ == "__main__":
    sys.stdout.write(schema())
