"""lmms-eval's own command finds saved models by itself and prints the digits of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import harness
from harness.evaluation.task import Conditions
from tasks.lmms_eval import plugin
from tasks.lmms_eval.task import LmmsEvalConfig
from tests.helpers.saved_models import Case, compressed
from tests.tasks.lmms_eval.test_task import OWN, rows, save_images, write

pytest.importorskip("lmms_eval")
pytestmark = [pytest.mark.extras, pytest.mark.slow]  # interpreters that import lmms-eval


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl"])
def test_same_digits_as_the_command(family, tmp_path, one_thread):
    folder = tmp_path / "tasks"
    folder.mkdir()
    save_images(rows(), folder / "own.parquet")
    (folder / "own.py").write_text(OWN)
    name = write(folder, data=str(folder / "own.parquet"))
    small = harness.save(
        compressed(Case(family, "float32", "latentllm", "left")), tmp_path / "small"
    )
    environment = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-m", "lmms_eval", "--model", "harness", "--model_args",
         f"pretrained={small}", "--batch_size", "2", "--tasks", "own",
         "--include_path", str(folder), "--output_path", str(tmp_path / "out")],
        check=True,
        cwd=tmp_path,
        capture_output=True,
        env=os.environ | environment,
    )  # fmt: skip
    (report,) = (tmp_path / "out").rglob("*results.json")
    printed = json.loads(report.read_text())["results"]["own"]
    found = plugin.prepare(name, None, LmmsEvalConfig()).evaluate(
        harness.load(small), Conditions(batch_size=2)
    )
    ours = {metric.name.partition(" ")[0]: metric.value for metric in found.metrics}
    theirs = {name.partition(",")[0]: value for name, value in printed.items() if "," in name}
    assert ours["first"] == theirs["first"] > 0
    assert ours["second"] == theirs["second"]
