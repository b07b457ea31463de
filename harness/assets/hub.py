"""Downloads from the hub, into its own cache, with reasons a person understands."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download

from harness.assets.aliases import HubText
from harness.assets.blobs import damaged_blobs
from harness.assets.folders import ADAPTER, OURS, PICKLES, WEIGHTS, WITHOUT_WEIGHTS, model_files
from harness.assets.kinds import Purpose
from harness.errors import AssetError, HarnessError, InfrastructureError
from harness.support import offline

_log = logging.getLogger(__name__)
_TEXT_COLUMNS = ("text", "sentence", "page")


def download_model(repository: str, revision: str | None, instead: str) -> Path:
    """Folder of a model's files; its name is the commit.

    Pickled weights are downloaded only where there are no safetensors. Weights whose content is
    not what the hub said are downloaded again, with a warning.

    Args:
        repository: ``ORG/NAME``.
        revision: branch, tag or commit; None for the default branch.
        instead: what to pass if it cannot be had.

    Raises:
        AssetError: it does not exist, is not accessible, or the hub cannot be reached.
        InfrastructureError: the disk is full.
    """

    def snapshot(patterns: tuple[str, ...]) -> Path:
        # Subfolders hold the same weights again in other formats.
        folder = snapshot_download(
            repository, revision=revision, allow_patterns=list(patterns), ignore_patterns=["*/*"]
        )
        return Path(folder)

    def download() -> Path:
        # An adapter is not used, but its being there has to be seen.
        folder = snapshot((*WITHOUT_WEIGHTS, ADAPTER, *OURS, *WEIGHTS))
        if any(file for pattern in WEIGHTS for file in folder.glob(pattern)):
            return folder
        return snapshot((*WITHOUT_WEIGHTS, *PICKLES))

    name = f"the model '{_named(repository, revision)}'"
    with _hub_errors_explained(name, instead):
        folder = download()
        if damaged := damaged_blobs(model_files(folder)):
            _remove_or_refuse(damaged, name)
            folder = download()
            if damaged_blobs(model_files(folder)):
                raise AssetError(f"{name} is damaged again after a second download")
            _log.warning("%s was damaged in the hub's cache and was downloaded again", name)
        return folder


def _remove_or_refuse(damaged: list[Path], name: str) -> None:
    """Remove what is not what its name says, if it can be downloaded again."""
    if constants.HF_HUB_OFFLINE:
        raise AssetError(
            f"{name} is damaged in the hub's cache: the content of {damaged[0]} does not have "
            f"that SHA-256; {offline.FIX}"
        )
    for blob in damaged:
        blob.unlink()


def download_config(repository: str, revision: str | None, instead: str) -> Path:
    """Folder with a model's ``config.json``; the rest of the model is not downloaded.

    Args:
        repository: ``ORG/NAME``.
        revision: branch, tag or commit; None for the default branch.
        instead: what to pass if it cannot be had.

    Raises:
        AssetError: it does not exist, is not accessible, or the hub cannot be reached.
        InfrastructureError: the disk is full.
    """
    with _hub_errors_explained(f"the model '{_named(repository, revision)}'", instead):
        return Path(hf_hub_download(repository, "config.json", revision=revision)).parent


def load_rows(text: HubText, purpose: Purpose, name: str, instead: str) -> tuple[list[str], str]:
    """The rows of a dataset's text column, in order and unchanged, and the commit.

    Raises:
        AssetError: it cannot be had, or has no column of text.
        InfrastructureError: the disk is full.
    """
    rows, commit = load_split(text, purpose, f"the text '{name}'", instead)
    with _hub_errors_explained(f"the text '{name}'", instead):
        column = next((c for c in _TEXT_COLUMNS if c in rows.column_names), None)
        if column is None:
            raise AssetError(
                f"the text '{name}' has the columns {', '.join(rows.column_names)} but none of "
                f"{', '.join(_TEXT_COLUMNS)}; pass {instead} instead"
            )
        documents = list(rows[column])
        if not all(isinstance(document, str) for document in documents):
            raise AssetError(
                f"a row of '{name}' has no text in column {column}; pass {instead} instead"
            )
        return documents, commit


def load_split(source: HubText, purpose: Purpose, what: str, instead: str) -> tuple[Any, str]:
    """The ``datasets.Dataset`` of the split that serves ``purpose``, and the commit.

    Args:
        source: the dataset.
        purpose: what it is for.
        what: the dataset in words, for errors.
        instead: what to pass if it cannot be had.

    Raises:
        AssetError: it cannot be had.
        InfrastructureError: the disk is full.
    """
    import datasets  # noqa: PLC0415 - takes a second, which plans and cached models can spare

    split = source.splits[purpose]
    files = {split: source.files[purpose]} if source.files else None
    with _hub_errors_explained(what, instead):
        _reach(source)
        builder = datasets.load_dataset_builder(
            source.repository, source.config, data_files=files, revision=source.revision
        )
        builder.download_and_prepare()
        return builder.as_dataset(split=split), str(builder.hash)


def _reach(text: HubText) -> None:
    """Fail at once where the hub is out of reach; ``datasets`` retries for half a minute."""
    if not constants.HF_HUB_OFFLINE and not Path(text.repository).is_dir():
        HfApi().dataset_info(text.repository, revision=text.revision, timeout=60)


@contextmanager
def _hub_errors_explained(what: str, instead: str) -> Iterator[None]:
    try:
        yield
    except HarnessError:
        raise
    # The libraries raise errors of many unrelated types, HTTP clients' among them.
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise InfrastructureError(
                f"no space left to download {what}; free some, or set HF_HOME to a folder on a "
                "larger disk"
            ) from error
        raise AssetError(
            f"cannot get {what} from the hub: {_reason(error)}; pass {instead} instead"
        ) from error


def _reason(error: Exception) -> str:
    message = str(error)
    if offline.is_offline():
        return f"offline, and it is not in the hub's cache; {offline.FIX}"
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set and it is not in the hub's cache"
    if "ConnectError" in message or type(error).__name__ in {"ConnectError", "ConnectTimeout"}:
        return "the hub cannot be reached (HF_HUB_OFFLINE=1 uses what was downloaded before)"
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    first = next((line for line in lines if "Request ID" not in line), "no reason given")
    return f"{type(error).__name__}: {first.rstrip('.')}"


def _named(repository: str, revision: str | None) -> str:
    return f"{repository}@{revision}" if revision else repository
