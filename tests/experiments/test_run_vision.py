"""Whole runs on questions with images: calibration by task, scope, skipped questions, bad input."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image

from harness.calibration.sources import default_calibration, prompt_calibration
from harness.cli.main import main
from harness.datasets import mini_scienceqa
from harness.errors import AssetError, UsageError
from harness.experiments.plan import make_plan
from harness.experiments.request import Request
from harness.experiments.runner import run
from harness.records import store
from harness.records.spec import CalibrationSpec, TaskSpec
from harness.statistics.collect import collect
from tests.helpers.tiny_vision_models import VISION_MODELS, tiny_vision_model

MINIS = (TaskSpec(name="mini-scienceqa", limit=6), TaskSpec(name="mini-textvqa", limit=4))


@pytest.fixture(scope="module")
def folders(tmp_path_factory, one_thread):
    """One folder a family, as ``from_pretrained`` reads it."""
    made = {}

    def save(name):
        if name not in made:
            subject = tiny_vision_model(name, torch.float32)
            made[name] = tmp_path_factory.mktemp("vision") / name
            subject.model.save_pretrained(made[name])
            subject.processor.save_pretrained(made[name])
        return str(made[name])

    return save


@pytest.fixture
def request_for(folders, tmp_path):
    def build(name="llava", **changes):
        standard = Request(
            methods={"asvd-rootcov": {}},
            ratios=[0.3],
            tasks=MINIS,
            model=folders(name),
            calibration=lambda task: default_calibration(task, samples=4),
            output=tmp_path / "results",
        )
        return replace(standard, **changes)

    return build


def science_folder(folder, count=6):
    """Questions of our own as ScienceQA's files would hold them, images beside them."""
    folder.mkdir()
    for split in ("train", "test"):
        rows = []
        for index in range(count):
            row = mini_scienceqa.question(split, index)
            if row["image"]:
                name = f"{split}-{index}.png"
                row["image"].save(folder / name)
                row["image"] = name
            rows.append(json.dumps(row))
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize("name", VISION_MODELS)
def test_each_task_is_calibrated_on_its_own_training_split(request_for, name):
    records = run(request_for(name))
    assert [record.status for record in records] == ["complete"] * 4
    dense, compressed = records[:2], records[2:]
    for reference, record, task in zip(dense, compressed, MINIS, strict=True):
        assert record.reference == reference.run_id
        assert record.spec.calibration == prompt_calibration(task.name, samples=4)
        assert record.calibration.reference == task.name
        assert record.calibration.fingerprint != record.data.fingerprint
        assert record.calibration.tokens > 4 * 16
        assert record.model.image_processor.endswith("Pil")
        assert record.compression.ratio_layers >= 0.3
        assert record.result.metrics[0].n == task.limit
    assert compressed[0].compression.layers != compressed[1].compression.layers


def test_original_propagation_collects_once_a_calibration(request_for, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "harness.experiments.shared_statistics.collect",
        lambda *arguments, **keywords: calls.append(1) or collect(*arguments, **keywords),
    )
    methods = {name: {"propagation": "original"} for name in ("svd", "asvd-l2")}
    run(request_for(methods=methods, ratios=[0.2, 0.4]))
    assert len(calls) == len(MINIS)


@pytest.mark.parametrize("name", VISION_MODELS)
@pytest.mark.parametrize("scope", ["language", "all"])
def test_gradients_of_answers_share_one_budget(request_for, name, scope):
    records = run(request_for(name, methods={"twinroot": {}}, tasks=MINIS[:1], scope=scope))
    assert [record.status for record in records] == ["complete"] * 2
    facts = records[1].compression
    assert 0.3 <= facts.ratio_layers < 0.33
    assert len({layer.parameters / (layer.shape[0] * layer.shape[1]) for layer in facts.layers}) > 2


def test_one_calibration_may_serve_all_tasks(request_for):
    one = prompt_calibration("mini-textvqa", samples=3, seed=5)
    records = run(request_for(calibration=one))
    assert {record.spec.calibration for record in records[2:]} == {one}
    assert records[2].compression == records[3].compression


@pytest.mark.parametrize("scope", ["vision", "all"])
def test_a_scope_is_its_own_run_and_shares_the_dense_one(request_for, scope):
    language = run(request_for(tasks=MINIS[:1]))
    other = run(request_for(tasks=MINIS[:1], scope=scope))
    assert other[0] == language[0]
    assert other[1].run_id != language[1].run_id
    assert other[1].spec.scope == scope
    names = {layer.name.split(".")[1] for layer in other[1].compression.layers}
    expected = {"vision": {"vision_tower"}, "all": {"vision_tower", "language_model"}}
    assert names == expected[scope]


def test_a_text_calibrates_and_measures_a_vision_language_model(request_for, texts):
    task = TaskSpec(name="wikitext2", data=str(texts / "evaluation.txt"), options={"window": 24})
    spec = CalibrationSpec(text=str(texts / "calibration.txt"), samples=4, length=16)
    _, record = run(request_for(tasks=[task], calibration=spec))
    assert record.status == "complete"
    _, failed = run(request_for(tasks=[task], calibration=spec, scope="vision"))
    assert failed.status == "failed"
    assert "calibrate a vision tower on questions with images" in failed.error


def test_an_unreadable_image_makes_the_run_incomplete(request_for, tmp_path, capsys):
    data = science_folder(tmp_path / "data")
    broken = next(data.glob("test-*.png"))
    broken.write_bytes(broken.read_bytes()[:40])
    task = TaskSpec(name="scienceqa", data=str(data))
    request = request_for(tasks=[task], methods={})
    (record,) = run(request)
    assert record.status == "incomplete"
    (skipped,) = record.result.skipped
    assert broken.name in skipped.reason
    assert record.result.metrics[0].n == 5
    # An incomplete cell is run again, and shown.
    assert make_plan(request).variants[0].pending
    assert store.load(request.output / f"{record.run_id}.json") == record
    assert main(["show", record.run_id, "--results", str(request.output)]) == 0
    assert broken.name in capsys.readouterr().out.replace("\n", "")


def test_the_command_line_reports_what_was_skipped(folders, tmp_path, capsys):
    data = science_folder(tmp_path / "data")
    broken = next(data.glob("test-*.png"))
    broken.unlink()
    arguments = ["run", "--model", folders("llava"), "--tasks", f"scienceqa={data}"]
    arguments += ["--method", "svd", "--calibration", f"scienceqa={data}", "--samples", "3"]
    arguments += ["--output", str(tmp_path / "results")]
    assert main(arguments) == 4
    message = capsys.readouterr().err
    assert "1 of 6 questions skipped" in message
    assert broken.name in message
    assert "does not rank" in message
    Image.new("RGB", (64, 64)).save(broken)
    assert main(arguments) == 0


@pytest.mark.parametrize("option", ["--length", "--self-samples"])
def test_what_is_for_texts_is_not_for_questions(folders, capsys, option):
    arguments = ["run", "--model", folders("llava"), "--tasks", "mini-textvqa"]
    assert main([*arguments, "--calibration", "mini-scienceqa", option, "64"]) == 2
    assert f"{option} is for texts" in capsys.readouterr().err


def test_a_text_model_cannot_be_asked_about_images(model_folder, tmp_path):
    request = Request(
        methods={}, ratios=[], tasks=MINIS[:1], model=str(model_folder("llama")), output=tmp_path
    )
    (record,) = run(request)
    assert record.status == "failed"
    assert "reads text only" in record.error
    with pytest.raises(UsageError, match="reads text only"):
        run(replace(request, methods={"asvd-l2": {}}, ratios=[0.3]))


def test_a_model_without_its_processor_says_so(folders, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(folders("llava"), folder)
    (folder / "processor_config.json").unlink()
    with pytest.raises(AssetError, match="tokenizer and image processor included"):
        run(Request(methods={}, ratios=[], tasks=MINIS[:1], model=str(folder), output=tmp_path))
