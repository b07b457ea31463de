"""What ``harness plan`` and ``harness profile`` say of a saved model, without reading a weight."""

from __future__ import annotations

import json

import pytest
from transformers import AutoConfig

import harness
from harness.profile.skeleton import saved_forms, skeleton
from harness.records.spec import RunSpec
from harness.sweep.estimate import estimate, subject_in
from tests.helpers.saved_models import CASES, compressed

VARIED = [case for case in CASES if case.dtype == "bfloat16" or case.bias_update == "always"]


@pytest.mark.parametrize("case", VARIED, ids=str)
def test_a_saved_model_is_priced_as_it_is_stored(case, one_thread, tmp_path):
    subject = compressed(case)
    folder = harness.save(subject, tmp_path / "small")
    (folder / "model.safetensors").unlink()
    priced = subject_in(folder, case.dtype, "language")
    facts = subject.compression
    found = priced.count.parameters, priced.count.bytes, priced.count.macs
    assert found == (facts.parameters, facts.bytes, facts.macs)
    task = {"name": "wikitext2"}
    spec = RunSpec(model="small", method={"name": "dense"}, ratio=0, calibration=None, task=task,
                   scope="language", dtype=case.dtype, seed=0)  # fmt: skip
    cost = estimate(priced, spec)
    assert (cost.parameters, cost.remaining) == (facts.parameters, facts.parameters)
    assert (cost.memory, cost.flops) == (facts.bytes, 2 * facts.macs)


@pytest.mark.parametrize("case", VARIED, ids=str)
def test_every_layer_has_the_form_it_was_saved_in(case, one_thread, tmp_path):
    subject = compressed(case)
    folder = harness.save(subject, tmp_path / "small")
    forms = saved_forms(skeleton(AutoConfig.from_pretrained(folder), case.dtype))
    found = [(form.form, form.rank) for block in forms.values() for form in block.values()]
    assert found == [(layer.form, layer.rank) for layer in subject.compression.layers]


def test_plan_shows_what_a_saved_model_takes(saved, cli, texts, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    task = f'{{name: wikitext2, data: "{texts / "evaluation.txt"}"}}'
    recipe.write_text(f'models: ["{saved}"]\ntasks: [{task}]\n')
    code, out, _ = cli("plan", recipe, "--output", tmp_path / "results")
    facts = harness.load(saved).compression
    assert code == 0
    (row,) = (line for line in out.splitlines() if "latentllm" in line)
    cells = [cell.strip() for cell in row.split("│")]
    size = f"{facts.parameters / 1e6:.2f}M"
    assert cells[7:9] == [size, size]


def test_profile_shows_a_saved_model_beside_the_dense_one(saved, cli):
    small = ("--batch", "1", "--sequence", "20", "--ratio", "0.5", "--dtype", "float32")
    measured = ("--measure", "--device", "cpu", "--runs", "1")
    code, out, _ = cli("profile", "--model", saved, *small, *measured, "--json")
    rows = json.loads(out)["rows"]
    facts = harness.load(saved).compression
    assert code == 0
    assert [row["method"] for row in rows] == ["dense", "as saved", "latentllm"]
    assert [row["ratio"] for row in rows] == [0, facts.ratio_layers, 0.5]
    found = rows[1]["parameters"], rows[1]["bytes"], rows[1]["macs"]
    assert found == (facts.parameters, facts.bytes, 20 * facts.macs)
    assert rows[1]["measured"]["peak_bytes"] > facts.bytes
