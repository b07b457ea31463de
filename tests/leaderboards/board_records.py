"""Records as a run would leave them, with everything that matters to a board adjustable."""

from __future__ import annotations

from harness.record import (
    CompressionFacts,
    DataFacts,
    Environment,
    LayerFacts,
    ModelFacts,
    RunRecord,
)
from harness.results import Metric, Sample, TaskResult
from harness.spec import CalibrationSpec, MethodSpec, RunSpec, TaskSpec

PERPLEXITY = "perplexity_token@2048"


def make_record(
    value: float = 20.2,
    *,
    model: str = "facebook/opt-1.3b",
    fingerprint: str = "m" * 40,
    parameters: int = 1_300_000_000,
    method: str = "latentllm",
    label: str | None = None,
    options: dict[str, object] | None = None,
    ratio: float = 0.3,
    task: str = "wikitext2",
    task_options: dict[str, object] | None = None,
    data: str | None = None,
    data_fingerprint: str | None = None,
    limit: int | None = None,
    metric: str = PERPLEXITY,
    higher_is_better: bool = False,
    stderr: float | None = 0.25,
    n: int = 141,
    unit: str = "windows",
    calibration: CalibrationSpec | None = CalibrationSpec(text="c4", samples=64, length=2048),  # noqa: B008
    calibration_fingerprint: str = "c" * 40,
    dtype: str = "float32",
    seed: int = 0,
    status: str = "complete",
    error: str | None = None,
    created: str = "2026-01-01T00:00:00Z",
    run_id: str | None = None,
    notes: tuple[str, ...] = (),
) -> RunRecord:
    dense = method == "dense"
    data_fingerprint = data_fingerprint or f"d-{task}"
    spec = RunSpec(
        model=model,
        method=MethodSpec(name=method, options=options or {}),
        ratio=0.0 if dense else ratio,
        calibration=None if dense else calibration,
        task=TaskSpec(name=task, data=data, limit=limit, options=task_options or {}),
        dtype=dtype,
        seed=seed,
    )
    compression = CompressionFacts(
        label=label or method,
        ratio_requested=ratio,
        ratio_layers=ratio,
        ratio_model=ratio * 0.9,
        parameters=1,
        bytes=4,
        layers=(
            LayerFacts(
                name="layers.0.q",
                form="plain",
                shape=(4, 4),
                rank=2,
                parameters=16,
                relative_loss=0.1,
                interpolation_bound=None,
            ),
        ),
    )
    result = TaskResult(
        metrics=(
            Metric(
                name=metric,
                value=value,
                stderr=stderr,
                n=n,
                unit=unit,
                higher_is_better=higher_is_better,
            ),
        ),
        samples=(Sample(id="0", values={"nll": 3.0}),),
        batch_size=8,
    )
    calibrated = spec.calibration is not None
    return RunRecord(
        run_id=run_id or spec.run_id(fingerprint, calibration_fingerprint, data_fingerprint),
        status=status,
        error=error,
        spec=spec,
        model=ModelFacts(
            reference=model,
            fingerprint=fingerprint,
            family="opt",
            parameters=parameters,
            bytes=4 * parameters,
            notes=notes,
        ),
        calibration=DataFacts(reference="c4", fingerprint=calibration_fingerprint)
        if calibrated
        else None,
        compression=None if dense or status == "failed" else compression,
        data=DataFacts(reference=data or task, fingerprint=data_fingerprint),
        result=None if status == "failed" else result,
        reference=None,
        environment=Environment(
            harness="0.1.0",
            commit=None,
            dirty=None,
            python="3.12.0",
            platform="Linux",
            packages={"torch": "2.13.0"},
            device="cpu",
            device_name="cpu",
            threads=2,
        ),
        timings={"evaluate": 1.5},
        peak_memory={"host": 1024},
        created=created,
    )


def dense(value: float = 14.6, **changes: object) -> RunRecord:
    return make_record(value, method="dense", **changes)


def paper_board() -> list[RunRecord]:
    """A small corner of Table 3, measured a little off the paper, and two runs that fail."""
    records = [
        dense(14.6),
        dense(20.35, task="ptb"),
        make_record(14.5, ratio=0.1),
        make_record(17.66, method="asvd-rootcov", ratio=0.1),
        make_record(15.1, method="asvd-rootcov", label="asvd-rootcov [block-identity]", ratio=0.1),
        make_record(9430.0, method="svd", ratio=0.1),
        make_record(16461.2, method="svd", ratio=0.2),
        make_record(24.4, ratio=0.2, task="ptb"),
        make_record(15.8, ratio=0.2),
        make_record(19.0, method="zeta", ratio=0.2),
        make_record(30.0, limit=4),
        make_record(method="asvd-cov", status="failed", error="out of memory | a <b>"),
    ]
    return [
        record.model_copy(update={"run_id": f"{number:016x}"})
        for number, record in enumerate(records)
    ]
