"""Run a plan: calibrate once, compress each variant, evaluate it, write its records."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from harness.adapters.apply import with_adapter
from harness.calibration.undrawn import Undrawn
from harness.checkpoints.load import load_model
from harness.checkpoints.save import save
from harness.compression.block_checkpoints import block_checkpoints_beside
from harness.compression.job import CompressionJob
from harness.compression.pipeline import compress_model, reads_data
from harness.errors import AssetError, HarnessError, InputError
from harness.evaluation.task import Conditions
from harness.experiments.cells import Cell
from harness.experiments.plan import Plan, Variant, make_plan
from harness.experiments.request import Request
from harness.experiments.shared_statistics import SharedStatistics, draw_calibrations
from harness.experiments.timings import Timings
from harness.models.language_model import LanguageModel
from harness.models.non_finite import non_finite_explained
from harness.records import store
from harness.records.environment import describe, peak_memory
from harness.records.record import RunRecord, Status
from harness.records.results import TaskResult
from harness.support.failures import failures_explained
from harness.support.progress import Announce, Tracker, as_phase, silent, unannounced

__all__ = ["Request", "run", "run_plan"]

_log = logging.getLogger(__name__)


def run(request: Request, track: Tracker = silent) -> list[RunRecord]:
    """Run every cell of ``request`` that has no complete record yet; return all records.

    A failing cell is recorded as failed and does not stop the others.

    Raises:
        HarnessError: nothing could be run; see ``make_plan``.
    """
    return run_plan(make_plan(request), track)


def run_plan(
    plan: Plan,
    track: Tracker = silent,
    shared: Path | None = None,
    announce: Announce = unannounced,
) -> list[RunRecord]:
    """``run`` for a plan already made.

    Statistics of the untouched model are shared with other processes through the folder
    ``shared``, if there is one.

    Raises:
        AssetError: files of the model or of a task turned out to be damaged; the cells that do not
            read them are recorded.
        InputError: code of a task fails; the cells of other tasks are recorded.
    """
    records = [cell.done for variant in plan.variants for cell in variant.cells if cell.done]
    pending = [variant for variant in plan.variants if variant.to_do]
    if not pending:
        return records
    store.require_writable(plan.request.output)
    job = _PlanRun(plan, track, shared, announce)
    for variant in pending:
        records += job.run(variant)
    if job.faults:
        raise job.faults[0]
    order = [cell.run_id for variant in plan.variants for cell in variant.cells]
    return sorted(records, key=lambda record: order.index(record.run_id))


@dataclass
class _PlanRun:
    """One loaded model and what its variants share."""

    plan: Plan
    track: Tracker
    shared: Path | None
    announce: Announce
    timings: Timings = field(default_factory=Timings)
    faults: list[AssetError | InputError] = field(default_factory=list)
    begun: int = 0

    def __post_init__(self) -> None:
        with self.timings.stage("load"), failures_explained("loading the model"):
            self.dense = as_phase(self.track, "loading the model", self._load)
        self.facts = self.dense.facts()
        self.waiting = [variant for variant in self.plan.variants if variant.to_do]
        with failures_explained("calibration"), non_finite_explained(self.dense):
            reading = [variant for variant in self.waiting if self._reads_data(variant)]
            self.drawn = draw_calibrations(self.plan, reading, self.dense, self.timings, self.track)
        self.statistics = SharedStatistics(
            self.plan, self.dense, self.timings, self.track, self.shared
        )

    def run(self, variant: Variant) -> Iterator[RunRecord]:
        """Compress once, evaluate each pending cell, save its record, then the model.

        The variants that are to do come in the order of the plan.
        """
        self.waiting.remove(variant)
        with ExitStack() as stack:
            yield from self._run(variant, stack)

    def _run(self, variant: Variant, stack: ExitStack) -> Iterator[RunRecord]:
        first, *_ = variant.pending or variant.cells
        self._begin(variant, first)
        try:
            subject = self._compress(variant, stack)
        except HarnessError as error:
            if not variant.pending:
                raise
            for cell in variant.pending:
                yield self._save(cell, None, None, error)
            return
        records = [cell.done for cell in variant.cells if cell.done]
        for cell in variant.pending:
            if cell is not first:
                self._begin(variant, cell)
            try:
                result = self._evaluate(subject, cell)
            except (AssetError, InputError) as error:  # no result of this cell; the others go on
                self.faults.append(error)
                continue
            except HarnessError as error:
                record = self._save(cell, subject, None, error)
            else:
                record = self._save(cell, subject, result, None)
            records.append(record)
            yield record
        if variant.save:
            save(subject, variant.save, records=records, force=self.plan.request.force)

    def _begin(self, variant: Variant, cell: Cell) -> None:
        self.begun += 1
        parts = [max(1, len(other.pending)) for other in self.plan.variants if other.to_do]
        method = variant.method.spec.name
        share = f" {variant.ratio:g}" if variant.method.compressor else ""
        self.announce(f"{method}{share} on {cell.spec.task.name}", self.begun, sum(parts))

    def _load(self) -> LanguageModel:
        request = self.plan.request
        subject = load_model(request.model, request.dtype, request.device, offload=request.offload)
        return with_adapter(subject, self.plan.adapter) if self.plan.adapter else subject

    def _compress(self, variant: Variant, stack: ExitStack) -> LanguageModel:
        """What it needs for as long as it is used is entered on ``stack``."""
        method, request = variant.method, self.plan.request
        for stage in ("draw", "calibrate", "compress", "evaluate"):
            self.timings.pop(stage, None)
        if method.compressor is None:
            return self.dense
        source = variant.source
        assert source is not None
        dense, checkpoints, statistics = self.dense, None, None
        job, reads = self._job(variant), self._reads_data(variant)
        if reads:
            drawn = self.drawn[source.spec]
            job, self.timings["draw"] = replace(job, calibration=drawn.value), drawn.seconds
            self.statistics.calibrate_on(source.spec)
        if request.offload:
            destination = variant.save or request.output.resolve() / variant.cells[0].run_id
            checkpoints = stack.enter_context(block_checkpoints_beside(destination))
            dense = self._load()  # is compressed in place
        elif reads and method.config.reads_original:
            with non_finite_explained(dense, variant.ratio):
                statistics = self.statistics.read(variant, source, job.calibration, self.waiting)
        with (
            self.timings.stage("compress"),
            failures_explained(f"method '{method.spec.name}'"),
            non_finite_explained(dense, variant.ratio),
        ):
            return compress_model(
                dense,
                job,
                statistics=statistics,
                block_checkpoints=checkpoints,
                track=self.track,
            )

    def _job(self, variant: Variant) -> CompressionJob:
        """On a calibration that is not drawn yet."""
        method, source, request = variant.method, variant.source, self.plan.request
        assert method.compressor is not None
        assert source is not None
        return CompressionJob(
            method.spec.name,
            method.compressor,
            method.config,
            variant.ratio,
            Undrawn(source.facts, source.spec),
            scope=request.scope,
            batch_size=request.batch_size,
        )

    def _reads_data(self, variant: Variant) -> bool:
        compresses = variant.method.compressor is not None
        return compresses and reads_data(self.dense, self._job(variant))

    def _evaluate(self, subject: LanguageModel, cell: Cell) -> TaskResult:
        request = self.plan.request
        conditions = Conditions(
            batch_size=request.batch_size,
            limit=cell.spec.task.limit,
            seed=request.seed,
            track=self.track,
        )
        with (
            self.timings.stage("evaluate"),
            failures_explained(f"task '{cell.spec.task.name}'"),
            non_finite_explained(subject),
        ):
            return cell.task.evaluate(subject, conditions)

    def _save(
        self,
        cell: Cell,
        subject: LanguageModel | None,
        result: TaskResult | None,
        error: HarnessError | None,
    ) -> RunRecord:
        if error:
            _log.debug("cell %s failed", cell.run_id, exc_info=error)
        request = self.plan.request
        drawn, origin = self.drawn.get(cell.spec.calibration), self.dense.origin
        made_on = origin.data if origin else None
        compression = subject.compression if subject else None
        if compression and not compression.calibrated:
            drawn = made_on = None
        record = RunRecord(
            run_id=cell.run_id,
            status=_status(result),
            error=" ".join(str(error).split()) if error else None,
            spec=cell.spec,
            model=self.facts,
            calibration=drawn.value.facts if drawn else made_on,
            compression=compression,
            data=cell.task.data,
            result=result,
            reference=cell.reference,
            training=self.dense.training,
            environment=describe(request.device, offloaded=request.offload, plugins=cell.plugins),
            timings={name: round(seconds, 3) for name, seconds in self.timings.items()},
            peak_memory=peak_memory(request.device),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        ).sealed()
        store.save(record, request.output)
        return record


def _status(result: TaskResult | None) -> Status:
    if result is None:
        return "failed"
    return "incomplete" if result.skipped else "complete"
