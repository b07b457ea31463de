"""Cells by name: which record each will be, and whether it is there."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.adapters.adapter_folder import AdapterAsset
from harness.assets.kinds import ModelAsset
from harness.compression.foreign_code import foreign_code
from harness.evaluation.task import PreparedTask, Renamed, task_code
from harness.experiments.cell_spec import CompressionSpec, cell_spec
from harness.experiments.request import Request
from harness.experiments.resolve import NamedTask, Resolver
from harness.records import store
from harness.records.record import RunRecord
from harness.records.spec import RunSpec

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """One record to be: its spec, its name, and the record that is already there.

    ``plugins`` is the code of others that takes part, by what it is.
    """

    spec: RunSpec
    run_id: str
    task: PreparedTask
    reference: str | None
    done: RunRecord | None
    plugins: Mapping[str, str]


def unchanged_cell(
    request: Request,
    asset: ModelAsset,
    adapter: AdapterAsset | None,
    resolver: Resolver,
    compression: CompressionSpec,
    named: NamedTask,
) -> Cell:
    """The cell of the model as it is, which all others on the task are compared with.

    Every cell of a recipe asks for it, so ``resolver`` keeps it.

    Raises:
        UsageError: see ``named_cell``.
    """
    key = repr((request.model, request.dtype, request.seed, request.output, request.force,
                adapter, compression, named[0]))  # fmt: skip
    if key not in resolver.unchanged:
        cell = named_cell(request, asset, resolver, compression, named, None, adapter)
        resolver.unchanged[key] = cell
    return resolver.unchanged[key]


def named_cell(
    request: Request,
    asset: ModelAsset,
    resolver: Resolver,
    compression: CompressionSpec,
    named: NamedTask,
    reference: str | None,
    adapter: AdapterAsset | None = None,
) -> Cell:
    """The cell of one task, with its record if that is complete.

    Args:
        request: that asks for it.
        asset: the model.
        resolver: what is known of models already.
        compression: how the model is compressed.
        named: the task.
        reference: the run id of the model as it is; None for that cell itself.
        adapter: what the model is measured with.

    Raises:
        UsageError: a value is not allowed, or the record is damaged.
    """
    task, prepared = named
    spec = cell_spec(request, compression, task)
    # What a saved model was made by is in its files.
    method = spec.method.name if reference else None
    plugins = foreign_code(method, resolver.model_type(asset.folder)) | task_code(spec)
    read = (asset.fingerprint, compression.data)
    ours = [json.dumps(plugins, sort_keys=True)] if plugins else []
    ours += [adapter.fingerprint] if adapter else []
    run_id = spec.run_id(*read, prepared.data.fingerprint, *ours)
    done = None if request.force else _complete(request.output, run_id)
    former = prepared.former if isinstance(prepared, Renamed) else prepared.data.fingerprint
    renamed = bool(ours) or former != prepared.data.fingerprint
    if renamed and not (done or request.force or adapter):
        once = spec.run_id(*read, former)
        if _complete(request.output, once):
            _log.warning(
                "%s on %s is measured again: record %s does not cover its code (%s)",
                spec.method.name,
                task.name,
                once,
                ", ".join((*prepared.data.code, *plugins.values())),
            )
    return Cell(spec, run_id, prepared, reference, done, plugins)


def _complete(folder: Path, run_id: str) -> RunRecord | None:
    record = store.find(folder, run_id)
    return record if record and record.status == "complete" else None
