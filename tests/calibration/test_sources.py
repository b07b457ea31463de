"""Calibration that the model writes beside what is drawn from a text."""

from __future__ import annotations

import json

import pytest
import torch

from harness.assets.kinds import TextAsset
from harness.calibration.sources import draw, resolve_calibration
from harness.checkpoints.load import load_model
from harness.cli.main import main
from harness.errors import UsageError
from harness.records.spec import CalibrationSpec
from harness.sweep.recipe_file import read_recipe, requests


def spec_of(texts, written, seed=0):
    return CalibrationSpec(
        text=str(texts / "calibration.txt"), samples=3, length=16, seed=seed, self_samples=written
    )


def drawn(subject, spec):
    source = resolve_calibration(spec)
    assert isinstance(source, TextAsset)
    return draw(source, subject, spec, batch_size=2)


@pytest.fixture
def subject(model_folder):
    return load_model(str(model_folder("llama")))


def test_they_come_behind_the_same_samples_of_the_text(subject, texts):
    plain, more = (drawn(subject, spec_of(texts, written)) for written in (0, 4))
    assert more.input_ids.shape == (7, 16)
    assert torch.equal(more.input_ids[:3], plain.input_ids)
    assert torch.equal(more.attention_mask, torch.ones(7, 16, dtype=torch.long))
    assert (plain.facts.tokens, more.facts.tokens) == (48, 112)
    assert more.facts.fingerprint == plain.facts.fingerprint
    assert set(more.input_ids[3:, 0].tolist()) <= set(plain.input_ids.flatten().tolist())


def test_they_depend_on_the_seed_and_on_nothing_else(subject, texts):
    one, again, other = (drawn(subject, spec_of(texts, 4, seed)) for seed in (1, 1, 2))
    assert torch.equal(one.input_ids, again.input_ids)
    assert not torch.equal(one.input_ids[3:], other.input_ids[3:])


def test_a_model_on_disk_does_not_write(model_folder, texts):
    offloaded = load_model(str(model_folder("llama")), offload=True)
    with pytest.raises(UsageError, match="--offload keeps one block in memory; leave out either"):
        drawn(offloaded, spec_of(texts, 1))


def test_questions_are_not_written():
    with pytest.raises(ValueError, match="a model writes texts of its own"):
        CalibrationSpec(text="x", samples=1, length=None, sampling="prompts", self_samples=1)


@pytest.mark.parametrize("method", ["asvd-rootcov", "twinroot"])
def test_a_run_records_them(model_folder, texts, tmp_path, capsys, method):
    arguments = ["run", "--model", str(model_folder("llama")), "--method", method]
    arguments += ["--tasks", f"wikitext2={texts / 'evaluation.txt'}", "--window", "32"]
    arguments += ["--calibration", str(texts / "calibration.txt"), "--samples", "4"]
    arguments += ["--length", "16", "--output", str(tmp_path / "results"), "--json"]
    assert main([*arguments, "--self-samples", "3"]) == 0
    _, found = map(json.loads, capsys.readouterr().out.splitlines())
    assert found["spec"]["calibration"]["self_samples"] == 3
    assert found["calibration"]["tokens"] == 7 * 16
    assert main(["show", found["run_id"], "--results", str(tmp_path / "results")]) == 0
    assert "3 x 16 tokens of its own" in " ".join(capsys.readouterr().out.split())
    assert main([*arguments, "--self-samples", "-1"]) == 2
    assert "--self-samples: -1 is outside its range: 0 to" in capsys.readouterr().err


def test_a_recipe_asks_for_them(tmp_path):
    path = tmp_path / "recipe.yaml"
    text = "models: [builtin:opt-tiny]\nmethods: [svd]\nratios: [0.1]\ntasks: [wiki-excerpt]\n"
    path.write_text(text + "calibration: {self_samples: 5}\n", encoding="utf-8")
    found = [one.calibration for one in requests(read_recipe(path), tmp_path)]
    assert found[-1] == CalibrationSpec(text="c4-excerpt", samples=24, length=512, self_samples=5)
    path.write_text(text + "calibration: {text: mini-scienceqa, self_samples: 5}\n", "utf-8")
    with pytest.raises(UsageError, match="taken whole; remove 'self_samples'"):
        requests(read_recipe(path), tmp_path)
