"""From a request to cells: everything is resolved and named before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from harness.adapters.adapter_folder import AdapterAsset, resolve_adapter
from harness.assets.kinds import ModelAsset
from harness.checkpoints.destinations import save_targets
from harness.checkpoints.saved_record import read_saved_record
from harness.compression.foreign_code import foreign_code, model_type_of
from harness.errors import UsageError
from harness.experiments.calibration_source import (
    CalibrationSource,
    calibration_sources,
    require_other_data,
)
from harness.experiments.cell_spec import CompressionSpec
from harness.experiments.cells import Cell, named_cell, unchanged_cell
from harness.experiments.request import Request
from harness.experiments.resolve import Method, NamedTask, Resolver
from harness.plugins.options import label
from harness.records.provenance import compression_digest
from harness.records.spec import DENSE, Dtype, MethodSpec, Scope


@dataclass(frozen=True)
class Variant:
    """A method at a ratio on one calibration, with one cell a task; they share all work.

    ``source`` is None for a model measured as it is; ``save`` is where the compressed model is to
    be written, None for nowhere or where it is already.
    """

    method: Method
    ratio: float
    source: CalibrationSource | None
    cells: tuple[Cell, ...]
    save: Path | None = None

    @property
    def to_do(self) -> bool:
        """Whether a cell is pending or the model is not saved yet."""
        return bool(self.pending or self.save)

    @property
    def pending(self) -> list[Cell]:
        """Cells without a complete record."""
        return [cell for cell in self.cells if cell.done is None]


@dataclass(frozen=True)
class Plan:
    """All variants, the model as it is first, and the model they share, with its adapter.

    Those of one calibration stand together.
    """

    request: Request
    asset: ModelAsset
    variants: tuple[Variant, ...]
    adapter: AdapterAsset | None = None


def make_plan(request: Request, resolver: Resolver | None = None) -> Plan:
    """Resolve assets and data, check every option, and look up finished cells.

    ``resolver`` is shared by those who make many plans.

    Raises:
        UsageError: a name, option or ratio is wrong, calibration and evaluation are the same data,
            a compressed model is to be compressed again, or a folder to save to is taken.
        AssetError: a model or data cannot be had.
    """
    resolver = resolver or Resolver()
    methods = [resolver.method(named) for named in request.methods.items()]
    named = [resolver.task(task) for task in request.tasks]
    asset = resolver.model(request.model)
    adapter = _adapter(request)
    cells = partial(named_cell, request, asset, resolver)
    unchanged = _unchanged_model(request, asset, named, saved=resolver.saved(asset.folder))
    references = [
        unchanged_cell(request, asset, adapter, resolver, unchanged, task) for task in named
    ]
    variants: list[Variant] = []
    for source, members in calibration_sources(request, named, resolver) if methods else ():
        for method in methods:
            for ratio in request.ratios:
                compression = CompressionSpec(
                    method.spec, ratio, source.spec, source.data.fingerprint, request.scope
                )
                cells_of = tuple(
                    cells(compression, named[i], references[i].run_id) for i in members
                )
                variants.append(Variant(method, ratio, source, cells_of))
    first = Variant(Method(unchanged.method), unchanged.ratio, None, tuple(references))
    return Plan(request, asset, (first, *_with_targets(request, asset, variants)), adapter)


def _adapter(request: Request) -> AdapterAsset | None:
    if request.adapter is None:
        return None
    if request.methods:
        raise UsageError(
            "an adapter is measured with the model that it was trained for; compress and save that "
            "first, and leave out methods"
        )
    if request.offload:
        raise UsageError("an adapter needs the whole model in memory; leave out --offload")
    return resolve_adapter(request.adapter)


def _unchanged_model(
    request: Request, asset: ModelAsset, named: Sequence[NamedTask], *, saved: bool
) -> CompressionSpec:
    """Dense, or as a saved model says it was made."""
    if not saved:
        return CompressionSpec(MethodSpec(name=DENSE))
    origin = read_saved_record(asset.folder).origin
    if request.methods:
        raise UsageError(
            f"{request.model} is compressed already and can only be measured; leave out methods, "
            f"or compress {origin.model.reference}"
        )
    for _, prepared in named:
        require_other_data(origin.data, prepared.data)
    return CompressionSpec(
        origin.method, origin.ratio, origin.calibration, origin.data.fingerprint, origin.scope
    )


def _with_targets(
    request: Request, asset: ModelAsset, variants: Sequence[Variant]
) -> list[Variant]:
    """The variants with the folders their models are to be saved to."""
    if request.save is None:
        return list(variants)
    several = len({variant.source.spec for variant in variants if variant.source}) > 1
    names: list[tuple[str, str]] = []
    for variant in variants:
        assert variant.source is not None
        name = f"{label(variant.method.spec.name, variant.method.config)}-{variant.ratio:g}"
        if several:
            name = f"{name}-{variant.source.data.reference}"
        digest = compression_digest_of(
            asset, variant.method, variant.ratio, variant.source, request.scope, request.dtype
        )
        names.append((name, digest))
    targets = save_targets(request.save, names, request.force)
    return [
        replace(variant, save=target) for variant, target in zip(variants, targets, strict=True)
    ]


def compression_digest_of(
    asset: ModelAsset,
    method: Method,
    ratio: float,
    source: CalibrationSource,
    scope: Scope,
    dtype: Dtype,
) -> str:
    """The ``compression_digest`` of a model that is yet to be made."""
    return compression_digest(
        asset.fingerprint,
        method.spec,
        ratio,
        scope,
        dtype,
        source.spec,
        source.data.fingerprint,
        foreign_code(method.spec.name, model_type_of(asset.folder)),
    )
