"""Records as a run would leave them, with everything that matters to a board adjustable."""

from __future__ import annotations

import math
from functools import lru_cache

from harness.records.record import (
    CompressionFacts,
    DataFacts,
    Environment,
    LayerFacts,
    ModelFacts,
    RunRecord,
)
from harness.records.results import Caution, Metric, Sample, Skipped, TaskResult
from harness.records.spec import CalibrationSpec, MethodSpec, RunSpec, TaskSpec

PERPLEXITY = "perplexity_token@2048"
LETTER = "accuracy[prompt=direct,parse=letter,max_new_tokens=16]"
VQA = "vqa_accuracy[prompt=short,ocr=off,max_new_tokens=16]"
COUNTS = {"NAT": 2252, "SOC": 889, "LAN": 1100, "TXT": 2028, "IMG": 2017, "NO": 1435}
COUNTS |= {"G1-6": 2724, "G7-12": 1517}
"""Questions of ScienceQA's test split by slice."""
LLAVA = "llava-hf/llava-v1.6-vicuna-7b-hf"
PROMPTS = CalibrationSpec(text="scienceqa", samples=64, length=None, sampling="prompts")


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
    scope: str = "language",
    slices: dict[str, float] | None = None,
    counts: dict[str, int] = COUNTS,
    skipped: int = 0,
    dtype: str = "float32",
    seed: int = 0,
    status: str = "complete",
    error: str | None = None,
    created: str = "2026-01-01T00:00:00Z",
    run_id: str | None = None,
    notes: tuple[str, ...] = (),
    cautions: tuple[Caution, ...] = (),
) -> RunRecord:
    dense = method == "dense"
    data_fingerprint = data_fingerprint or f"d-{task}"
    spec = RunSpec(
        model=model,
        method=MethodSpec(name=method, options=options or {}),
        ratio=0.0 if dense else ratio,
        calibration=None if dense else calibration,
        task=TaskSpec(name=task, data=data, limit=limit, options=task_options or {}),
        scope=scope,
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
    parts = {None: (value, n)} | {k: (v, counts[k]) for k, v in (slices or {}).items()}
    result = TaskResult(
        metrics=tuple(
            Metric(
                name=metric,
                value=amount,
                stderr=stderr,
                n=count,
                unit=unit,
                higher_is_better=higher_is_better,
                slice=part,
                interval=(amount * 0.75, amount * 0.5 + 0.5) if unit == "questions" else None,
            )
            for part, (amount, count) in parts.items()
        ),
        samples=equal_samples(metric, value, n),
        batch_size=8,
        skipped=tuple(Skipped(id=f"s{i}", reason="no image") for i in range(skipped)),
        cautions=cautions,
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


@lru_cache
def equal_samples(metric: str, value: float, n: int) -> tuple[Sample, ...]:
    """Such that ``value`` is what they give: two of these differ for certain or not at all."""
    values = {"correct": value}
    if metric.startswith("perplexity_token"):
        values = {"nll": math.log(value), "tokens": 2047.0}
    elif metric.startswith("perplexity"):
        values = {f"{metric}.loglikelihood": -math.log(value), f"{metric}.weight": 1.0}
    return tuple(Sample(id=str(i), values=values) for i in range(n))


def dense(value: float = 14.6, **changes: object) -> RunRecord:
    return make_record(value, method="dense", **changes)


def answers(value: float = 0.7, **changes: object) -> RunRecord:
    """An accuracy over the questions of ScienceQA, in the paper's way where nothing is changed."""
    usual = {
        "model": LLAVA,
        "fingerprint": "v" * 40,
        "parameters": 7_000_000_000,
        "task": "scienceqa",
        "metric": LETTER,
        "higher_is_better": True,
        "stderr": 0.0075,
        "n": 4241,
        "unit": "questions",
        "calibration": PROMPTS,
    }
    return make_record(value, **(usual | changes))


def vision_board() -> list[RunRecord]:
    """A corner of Table 4 and one of Table 10, the first without all slices, and the odd ones."""
    qwen = {"model": "Qwen/Qwen2.5-VL-3B-Instruct", "fingerprint": "q" * 40, "parameters": 3}
    texts = {"task": "textvqa", "metric": VQA, "n": 5000}
    shares = {"NAT": 0.72, "SOC": 0.69, "LAN": 0.66, "TXT": 0.73, "IMG": 0.69, "NO": 0.66}
    grades = {"G1-6": 0.73, "G7-12": 0.65}
    records = [
        answers(0.7003, method="dense", slices=shares | grades),
        answers(0.66, ratio=0.1, slices={k: v - 0.04 for k, v in (shares | grades).items()}),
        answers(0.03, method="svd", ratio=0.1, slices={"NAT": 0.05, "SOC": 0.68, "NO": 0.0}),
        answers(0.71, method="asvd-rootcov", ratio=0.3, slices=shares | {"IMG": 0.7}),
        answers(0.5, method="svd", ratio=0.3),
        answers(0.69, method="svd", ratio=0.3, scope="vision"),
        answers(0.6, ratio=0.1, skipped=3, n=4238, seed=7, status="incomplete"),
        answers(0.6132, method="dense", **texts),
        answers(0.6, ratio=0.1, **texts),
        answers(0.52, method="asvd-rootcov", ratio=0.1, **texts),
        answers(0.36, ratio=0.5, **texts),
        answers(0.7644, ratio=0.1, **(texts | qwen)),
        answers(0.7377, method="asvd-rootcov", ratio=0.2, **(texts | qwen)),
    ]
    return numbered(records)


def numbered(records: list[RunRecord]) -> list[RunRecord]:
    return [
        record.model_copy(update={"run_id": f"{number:016x}"})
        for number, record in enumerate(records)
    ]


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
    return numbered(records)
