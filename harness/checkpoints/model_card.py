"""The model card: what the model is, what it measured, how to open it."""

from __future__ import annotations

from harness.checkpoints.card_metadata import front_matter
from harness.checkpoints.saved_record import SavedRecord
from harness.records.record import RunRecord
from harness.records.spec import CalibrationSpec
from harness.support.markdown import markdown_table

_TEXT = """---
{metadata}
---

# {model}, {label} at {ratio:.0%}

A `{family}` model whose linear layers are stored as low-rank factors, made from `{model}`
(`{fingerprint}`) without training by harness {version}.

{remarks}{sizes}

Scope `{scope}`, weights in {dtype}, calibrated on {calibration}.

## Measured

{results}

## Open it

```python
import harness
from transformers import {auto}

model = {auto}.from_pretrained("PATH")
```

or `harness.load("PATH")`, which also checks every file's SHA-256. `harness verify PATH` measures
again what is claimed above, `harness run --model PATH` anything else, `harness chat PATH` talks to
it, and `harness export PATH --dense OUT` writes an ordinary `{family}` checkpoint of the dense size
for software that does not know this format.
`record.json` says how every layer was compressed and holds the results in full.

## Licence

The weights are derived from `{model}`, whose licence applies to them and to what is made with them.
"""


def model_card(saved: SavedRecord) -> str:
    """Markdown with the front matter that model hubs read."""
    origin, done = saved.origin, saved.compression
    samples = "" if origin.calibration is None else f"{_samples(origin.calibration)} of "
    return _TEXT.format(
        metadata=front_matter(saved),
        model=origin.model.reference,
        fingerprint=origin.model.fingerprint[:12],
        family=origin.model.family,
        label=done.label,
        ratio=origin.ratio,
        version=saved.environment.harness,
        remarks="".join(f"{_sentence(remark)}\n\n" for remark in origin.model.remarks),
        sizes=_sizes(saved),
        scope=origin.scope,
        dtype=origin.dtype,
        calibration=f"{samples}`{origin.data.reference}`"
        if done.calibrated
        else "nothing: the method read no data",
        results=_results(saved.records),
        auto="AutoModelForImageTextToText"
        if origin.model.image_processor
        else "AutoModelForCausalLM",
    )


def _sentence(remark: str) -> str:
    return f"{remark[0].upper()}{remark[1:]}."


def _sizes(saved: SavedRecord) -> str:
    model, done = saved.origin.model, saved.compression
    smaller = 1 - done.bytes / model.bytes
    rows = (
        (
            "parameters of the model",
            f"{model.parameters:,}",
            f"{done.parameters:,}",
            f"{done.ratio_model:.2%}",
        ),
        ("of the compressed layers", "", "", f"{done.ratio_layers:.2%}"),
        ("bytes", f"{model.bytes:,}", f"{done.bytes:,}", f"{smaller:.2%}"),
    )
    headings = ("", "dense", "compressed", "removed")
    return "\n".join(markdown_table(headings, "|---|--:|--:|--:|", rows))


def _results(records: tuple[RunRecord, ...]) -> str:
    measured = [(record, record.result.metrics[0]) for record in records if record.result]
    if not measured:
        return "Nothing yet."
    rows = []
    for record, metric in measured:
        task, limit = record.spec.task.name, record.spec.task.limit
        spread = "" if metric.stderr is None else f"{metric.stderr:.3g}"
        rows.append(
            (
                f"{task} (limited to {limit})" if limit else task,
                metric.name,
                f"{metric.value:.4g}",
                spread,
                f"{metric.n:,} {metric.unit}",
            )
        )
    headings = ("task", "metric", "value", "s.e.", "n")
    return "\n".join(markdown_table(headings, "|---|---|--:|--:|--:|", rows))


def _samples(spec: CalibrationSpec) -> str:
    written = f"{spec.self_samples} samples of the model's own and " * bool(spec.self_samples)
    return f"{written}{spec.samples} samples"
