"""What ``save_pretrained`` and training leave of a saved model's record."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import harness
from harness.checkpoints.saved_record import read_saved_record
from harness.errors import UsageError
from leaderboards.board import board
from tests.adapters.test_lora import LLAMA, adapted
from tests.helpers.saved_models import compressed, inputs_of, logits
from tests.helpers.tiny_models import words


@pytest.fixture(scope="module")
def folder(one_thread, tmp_path_factory):
    return harness.save(compressed(LLAMA), tmp_path_factory.mktemp("retrained") / "saved")


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(words(5, 200))
    return path


@pytest.fixture
def adapter(folder, tmp_path):
    adapted(harness.load(folder).model).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def retrained(folder, target):
    """The same with other weights, as training leaves them, written by transformers."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)
    model.save_pretrained(target)
    harness.load(folder).tokenizer.save_pretrained(target)
    return model


@pytest.mark.parametrize("over", [False, True])
def test_save_pretrained_keeps_factors_and_drops_claims(over, folder, tmp_path):
    target = tmp_path / "trained"
    if over:
        shutil.copytree(folder, target)
    model = retrained(folder, target)
    again = harness.load(target)
    expected = model(**inputs_of(again)).logits
    assert torch.equal(logits(again), expected)
    opened = AutoModelForCausalLM.from_pretrained(target)
    assert torch.equal(opened(**inputs_of(again)).logits, expected)
    known = read_saved_record(target)
    assert known.records == ()
    assert known.training.what == "weights"
    assert {layer.relative_loss for layer in known.compression.layers} == {None}
    assert known.origin == read_saved_record(folder).origin
    assert again.training == known.training
    once_more = harness.load(harness.save(again, tmp_path / "sealed"))
    assert once_more.training == known.training


def test_a_model_that_was_made_trainable_is_saved_as_such(folder, tmp_path):
    subject = harness.load(folder)
    assert read_saved_record(harness.save(subject, tmp_path / "as it was")).training is None
    subject.model.requires_grad_(True)
    assert read_saved_record(harness.save(subject, tmp_path / "trained")).training.what == "weights"


def test_an_adapter_is_not_saved_with_the_weights(folder, tmp_path):
    subject = harness.load(folder)
    adapted(subject.model)
    with pytest.raises(UsageError, match="adapter"):
        harness.save(subject, tmp_path / "saved")


def run(cli, folder, text, tmp_path, *more):
    task = ("--tasks", f"wikitext2={text}", "--window", "32", "--json")
    return cli("run", "--model", folder, *task, "--output", tmp_path / "results", *more)


def records(outcome):
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_a_run_with_an_adapter_is_another_cell_that_never_ranks(
    cli, folder, text, adapter, tmp_path
):
    from harness.records.store import load_all

    (plain,) = records(run(cli, folder, text, tmp_path))
    (with_it,) = records(run(cli, folder, text, tmp_path, "--adapter", adapter))
    assert with_it["run_id"] != plain["run_id"]
    assert with_it["result"]["metrics"][0]["value"] != plain["result"]["metrics"][0]["value"]
    assert plain["training"] is None
    assert with_it["training"]["trained_on"] is None
    assert "already" in run(cli, folder, text, tmp_path, "--adapter", adapter).err
    shown = board(load_all(tmp_path / "results")[0])
    (apart,) = [one for one in shown.unranked if one.run_id == with_it["run_id"]]
    assert "not training-free" in apart.reason
    assert "unknown data" in apart.reason
    assert with_it["run_id"] not in str(shown.tables)


def test_what_the_card_names_is_what_it_was_trained_on(cli, folder, text, adapter, tmp_path):
    (adapter / "README.md").write_text("---\ndatasets:\n- acme/words\n- more\n---\n# A card\n")
    (record,) = records(run(cli, folder, text, tmp_path, "--adapter", adapter))
    assert record["training"]["trained_on"] == ["acme/words", "more"]
    shown = cli("show", record["run_id"], "--results", tmp_path / "results")
    assert "trained on acme/words, more" in shown.out


def test_other_weights_of_the_adapter_are_another_cell(cli, folder, text, adapter, tmp_path):
    (first,) = records(run(cli, folder, text, tmp_path, "--adapter", adapter))
    path = adapter / "adapter_model.safetensors"
    save_file({name: value * 2 for name, value in load_file(path).items()}, path)
    (second,) = records(run(cli, folder, text, tmp_path, "--adapter", adapter))
    assert first["run_id"] != second["run_id"]


def test_a_retrained_folder_is_measured_and_never_ranks(cli, folder, text, tmp_path):
    retrained(folder, tmp_path / "trained")
    (record,) = records(run(cli, tmp_path / "trained", text, tmp_path))
    assert record["training"]["what"] == "weights"


def drop(name):
    return lambda adapter: (adapter / name).unlink()


def cut(adapter):
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def edit(**changes):
    def change(adapter):
        path = adapter / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def tensors(change):
    def rewrite(adapter):
        path = adapter / "adapter_model.safetensors"
        save_file(change(load_file(path)), path)

    return rewrite


BAD = {
    "no folder": (shutil.rmtree, "is no adapter"),
    "no configuration": (drop("adapter_config.json"), "lacks adapter_config.json"),
    "no weights": (drop("adapter_model.safetensors"), "lacks adapter_model.safetensors"),
    "cut": (cut, "truncated or damaged"),
    "no JSON": (lambda a: (a / "adapter_config.json").write_text("{"), "is damaged"),
    "another kind": (edit(peft_type="IA3"), "only LORA"),
    "other layers": (edit(target_modules=["fc1"]), "trained for"),
    "another rank": (edit(r=2), "trained for"),
    "a variant": (edit(use_dora=True), "trained for"),
    "fewer tensors": (tensors(lambda t: dict(list(t.items())[2:])), "trained for"),
    "other shapes": (
        tensors(lambda t: {name: value[..., :-1].contiguous() for name, value in t.items()}),
        "trained for",
    ),
    "NaN": (tensors(lambda t: {name: value * float("nan") for name, value in t.items()}), "NaN"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_adapter_is_one_line_that_names_the_fix(name, cli, folder, text, adapter, tmp_path):
    spoil, said = BAD[name]
    spoil(adapter)
    done = run(cli, folder, text, tmp_path, "--adapter", adapter)
    assert done.code == 2, done.err
    *progress, line = done.err.splitlines()
    assert said in line
    assert set(progress) <= {"loading the model"}


@pytest.mark.parametrize("more", [["--method", "svd"], ["--offload"], ["--ratio", "0.5"]])
def test_an_adapter_is_for_a_model_in_memory_as_it_is(more, cli, folder, text, adapter, tmp_path):
    done = run(cli, folder, text, tmp_path, "--adapter", adapter, *more)
    assert done.code == 2
