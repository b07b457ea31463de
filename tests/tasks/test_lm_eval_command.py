"""lm-eval's own command and ours print the same digits on the same saved model."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import harness
from harness.checkpoints.load import load_model
from harness.evaluation.task import Conditions
from tasks.lm_eval import plugin
from tasks.lm_eval.task import LmEvalConfig
from tests.tasks.conftest import tiny_llama
from tests.tasks.sentences import sentence

ITERATIONS = 100_000  # what lm-eval's command resamples
BATCH = 1  # the command mixes tasks in a batch, and padding moves a last digit

FUNCTIONS = """
def counted(doc, results):
    words, size = len(doc["page"].split()), len(doc["page"].encode())
    return {"word_perplexity": (results[0], words), "bits_per_byte": (results[0], size)}
"""

CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
REGEX = {"function": "regex", "regex_pattern": "([a-z]+)"}
FIRST = {"function": "take_first"}
WRITTEN = {
    "output_type": "generate_until",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_target": "{{choices[answer]}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 6},
    "metric_list": [{"metric": "exact_match", "ignore_case": True}],
    "filter_list": [
        {"name": "word", "filter": [REGEX, FIRST]},
        {"name": "whole", "filter": [FIRST]},
    ],
}
LAST_WORD = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{choices[answer]}}",
    "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
}
SPACE = {
    "output_type": "multiple_choice",
    "doc_to_text": "answer",
    "doc_to_choice": "choices",
    "doc_to_target": "question",
    "metric_list": [{"metric": "acc"}],
}
PAGES = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{page}}",
    "process_results": "functions.counted",
    "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
}
FIVE = {"num_fewshot": 5, "fewshot_split": "train"}
SAMPLED = {"until": ["\n"], "max_gen_toks": 6, "do_sample": True, "temperature": 0.9}

KINDS = {
    "choice": CHOICE,
    "choice-shots": CHOICE | FIVE,
    "choice-own-shots": CHOICE | {"num_fewshot": 5, "fewshot_split": "test"},
    "choice-first-shots": CHOICE | FIVE | {"fewshot_config": {"sampler": "first_n"}},
    "written": WRITTEN,
    "written-shots": WRITTEN | FIVE,
    "written-sampled": WRITTEN | {"generation_kwargs": SAMPLED},
    "last-word": LAST_WORD,
    "last-word-shots": LAST_WORD | FIVE,
    "space-shots": SPACE | FIVE,
    "pages": PAGES,
}  # fmt: skip


def questions(seed: int, count: int) -> list[dict[str, object]]:
    draw = random.Random(seed)
    return [
        {
            "question": sentence(draw.random(), 3),
            "choices": sentence(draw.random(), 4).split(),
            "answer": draw.randrange(4),
            "page": sentence(draw.random(), 30 + 40 * (number % 5)),
        }
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kinds")
    files = {}
    for seed, (split, count) in enumerate((("test", 20), ("train", 12))):
        files[split] = str(path / f"{split}.jsonl")
        rows = questions(seed, count)
        Path(files[split]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "functions.py").write_text(FUNCTIONS)
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        "training_split": "train",
    }
    for name, kind in KINDS.items():
        text = yaml.safe_dump({"task": name, **common, **kind})
        text = text.replace(": functions.", ": !function functions.")
        (path / f"{name}.yaml").write_text(text)
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tokenizer) -> Path:
    torch.manual_seed(0)
    model = tiny_llama(len(tokenizer))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    path = tmp_path_factory.mktemp("saved")
    model.save_pretrained(path / "llama")
    tokenizer.save_pretrained(path / "llama")
    dense = load_model(str(path / "llama"), "float32", "cpu")
    return harness.save(harness.compress(dense, "svd", 0.3), path / "small")


@pytest.fixture(scope="module")
def printed(folder: Path, saved: Path, tmp_path_factory: pytest.TempPathFactory):
    """What one run of lm-eval's command reports of all kinds."""
    out = tmp_path_factory.mktemp("out")
    home = tmp_path_factory.mktemp("home")
    told = subprocess.run(
        [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--device", "cpu",
         "--model_args", f"pretrained={saved},dtype=float32,trust_remote_code=True",
         "--batch_size", str(BATCH),
         "--tasks", *KINDS, "--include_path", str(folder), "--output_path", str(out)],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(home)},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-3000:]
    (report,) = out.rglob("results_*.json")
    return json.loads(report.read_text())["results"]


def digits(number: object) -> str:
    """As lm-eval's table prints it."""
    return f"{number:.4f}" if isinstance(number, float) else "N/A"


@pytest.mark.slow
def test_same_digits_as_the_command(folder, saved, printed) -> None:
    """One test for all kinds, so that the command runs in one worker and not in each."""
    model = load_model(str(saved), "float32", "cpu")
    ours = {kind: ours_of(folder / f"{kind}.yaml", model) for kind in KINDS}
    assert ours == {kind: theirs_of(printed[kind]) for kind in KINDS}


def ours_of(task: Path, model) -> dict[str, tuple[str, str]]:
    """Value and standard error by lm-eval's name of a metric."""
    prepared = plugin.prepare(str(task), None, LmEvalConfig(bootstrap_iters=ITERATIONS))
    found = {}
    for metric in prepared.evaluate(model, Conditions(batch_size=BATCH)).metrics:
        name = metric.name.partition(" (")[0]
        name = name if "," in name else f"{name},none"
        error = metric.stderr if metric.stderr is not None else "N/A"
        found[name] = (digits(metric.value), digits(error))
    return found


def theirs_of(report: dict[str, object]) -> dict[str, tuple[str, str]]:
    return {
        name: (digits(value), digits(report[name.replace(",", "_stderr,")]))
        for name, value in report.items()
        if "," in name and "_stderr," not in name
    }
