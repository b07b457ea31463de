"""The examples of ``docs/adding.md``, installed and run as they stand there."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from transformers import Starcoder2Config, Starcoder2ForCausalLM

from tests.helpers.plugin_packages import install
from tests.helpers.question_files import save_lines, save_picture
from tests.helpers.tiny_models import CONTEXT, SPECIAL, VOCABULARY

PAGE = (Path(__file__).parents[2] / "docs/adding.md").read_text(encoding="utf-8")
LINES = 40
OURS = ("harness", "compressors", "tasks", "leaderboards")


def fences(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


EXAMPLES = dict(zip(("method", "family", "task", "questions"), fences("python"), strict=True))


@pytest.fixture
def examples(site):
    """A package that declares all of them as the page says."""
    entries, modules = {}, {}
    for source, declaration in zip(EXAMPLES.values(), fences("toml"), strict=True):
        ((group, names),) = tomllib.loads(declaration)["project"]["entry-points"].items()
        ((name, place),) = names.items()
        entries.setdefault(group, {})[name] = place
        modules[place.partition(":")[0]] = source
    install(site, "acme", entries, modules)


@pytest.fixture
def starcoder(tmp_path, tokenizer):
    torch.manual_seed(0)
    config = Starcoder2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        **SPECIAL,
    )
    Starcoder2ForCausalLM(config).save_pretrained(tmp_path / "starcoder")
    tokenizer.save_pretrained(tmp_path / "starcoder")
    return tmp_path / "starcoder"


def records(outcome):
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in outcome.out.splitlines()]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_clean(name):
    source = EXAMPLES[name]
    assert sum(bool(line.strip()) for line in source.splitlines()) < LINES
    options = ["--select", "E,F,I,W", "--line-length", "100", "-"]
    check = [sys.executable, "-m", "ruff", "check", "--isolated", *options]
    done = subprocess.run(check, input=source, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_imports_the_public_face_alone(name):
    tree = ast.parse(EXAMPLES[name])
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {module for module in imported if module.partition(".")[0] in OURS}
    assert ours == {"harness.plugin"}


def test_the_method(cli, command, examples):
    given = ("--method", "asvd-power", "asvd-l2", "--ratio", "0.5", "--json")
    _, same, l2 = records(cli(*command(*given)))
    _, other = records(cli(*command(*given[:2], "--power", "0.1", *given[3:])))
    (same, l2, other) = (record["compression"] | record["result"] for record in (same, l2, other))
    assert (same["label"], other["label"]) == ("asvd-power", "asvd-power[power=0.1]")
    assert same["metrics"] == l2["metrics"]
    assert same["metrics"] != other["metrics"]
    outcome = cli(*command("--method", "asvd-power", "--power", "-1"))
    assert (outcome.code, "turns weights round" in outcome.err) == (2, True)


def test_the_family(cli, command, examples, starcoder):
    given = ("--method", "svd", "latentllm", "--ratio", "0.3", "--json")
    dense, *compressed = records(cli(*command(*given, model=starcoder)))
    for record in compressed:
        assert record["status"] == "complete"
        assert len(record["compression"]["layers"]) == 2 * 6
        assert record["compression"]["ratio_layers"] >= 0.3
        assert record["result"]["metrics"] != dense["result"]["metrics"]


def test_the_task(cli, command, examples, texts):
    given = ("--tasks", f"top1={texts / 'evaluation.txt'}", "--ratio", "0.5", "--json")
    dense, compressed = records(cli(*command(*given)))
    headline = dense["result"]["metrics"][0]
    assert (headline["name"], headline["unit"]) == ("top1@32", "windows")
    assert 0 <= headline["value"] <= 1
    samples = [sample["values"]["top1"] for sample in dense["result"]["samples"]]
    assert headline["value"] == pytest.approx(sum(samples) / headline["n"])
    assert compressed["reference"] == dense["run_id"]
    limited = records(cli(*command(*given, "--limit", "1")))[0]["result"]["metrics"][0]
    assert (limited["n"], limited["stderr"]) == (1, None)


def test_the_question_task(cli, examples, tmp_path):
    for split, numbers in (("test", (1, 2, 3)), ("train", (2, 1))):
        rows = []
        for number in numbers:
            save_picture(tmp_path / f"{split}{number}.png", (40 * number, 0, 0))
            question = f"how many in {split}?"
            rows.append(
                {"image": f"{split}{number}.png", "question": question, "answer": str(number)}
            )
        save_lines(tmp_path / f"{split}.jsonl", rows)
    dense, compressed = records(
        cli(
            *("run", "--model", "builtin:llava-tiny", "--method", "asvd-l2", "--ratio", "0.5"),
            *("--tasks", f"counting={tmp_path / 'test.jsonl'}"),
            *("--calibration", f"counting={tmp_path / 'train.jsonl'}", "--samples", "2"),
            *("--output", str(tmp_path / "results"), "--json"),
        )
    )
    assert compressed["status"] == "complete"
    assert compressed["calibration"]["reference"].endswith("train.jsonl")
    (metric,) = dense["result"]["metrics"]
    assert (metric["name"], metric["n"]) == ("accuracy[prompt=number,max_new_tokens=16]", 3)
    answers = [sample["answer"].strip(" .") for sample in dense["result"]["samples"]]
    right = [float(answer == number) for answer, number in zip(answers, "123", strict=True)]
    assert metric["value"] == pytest.approx(sum(right) / 3)
