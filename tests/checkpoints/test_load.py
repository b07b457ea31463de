"""A saved model is the model: the same logits to the last bit, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import harness
from harness.errors import UsageError
from harness.layers.factors import stored_bytes
from tests.helpers.saved_models import CASES, JUNCTIONS, Case, compressed, inputs_of, logits
from tests.helpers.tiny_vision_models import VISION_MODELS

FRESH = """
import json, sys
import harness
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
torch.set_num_threads(1)
for folder, sees in json.loads(sys.argv[1]):
    opener = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    model = opener.from_pretrained(folder)
    with torch.no_grad():
        logits = model(**load_file(folder + ".inputs")).logits
    save_file({"logits": logits.contiguous()}, folder + ".logits")
"""


@pytest.fixture(scope="module")
def reloaded(one_thread, tmp_path_factory):
    """Logits of each case before saving, and as another process finds them."""
    folder = tmp_path_factory.mktemp("saved")
    before, jobs = {}, []
    for case in CASES:
        subject = compressed(case)
        before[case] = logits(subject)
        path = str(harness.save(subject, folder / str(case), shard_bytes=20_000))
        save_file(inputs_of(subject), path + ".inputs")
        jobs.append((path, case.family in VISION_MODELS))
    subprocess.run([sys.executable, "-c", FRESH, json.dumps(jobs)], check=True)
    return {
        case: (before[case], load_file(f"{folder / str(case)}.logits")["logits"]) for case in CASES
    }


@pytest.mark.parametrize("case", CASES, ids=str)
def test_logits_are_the_same_to_the_last_bit_in_a_fresh_process(case, reloaded):
    expected, found = reloaded[case]
    assert found.dtype == getattr(torch, case.dtype)
    assert torch.equal(found, expected)


@pytest.fixture
def small(one_thread):
    return compressed(Case("llama", "float32", "latentllm", "block-identity"))


@pytest.mark.parametrize("case", CASES[:: len(CASES) // 8], ids=str)
def test_loading_brings_everything_back(case, one_thread, tmp_path):
    subject = compressed(case)
    again = harness.load(harness.save(subject, tmp_path / "saved"))
    assert torch.equal(logits(again), logits(subject))
    assert again.compression == subject.compression
    assert again.origin == subject.origin
    assert stored_bytes(again.model) == subject.compression.bytes
    assert type(again.model) is type(subject.model)
    assert again.family is subject.family
    text = "the cat sat on a tree under the slow red house"
    assert again.tokenizer(text).input_ids == subject.tokenizer(text).input_ids
    assert (again.processor is None) == (subject.processor is None)
    parameters = dict(again.model.named_parameters())
    assert all(
        parameters[name].requires_grad == parameter.requires_grad
        for name, parameter in subject.model.named_parameters()
    )


def test_a_loaded_model_saves_as_the_same_weights(small, tmp_path):
    first = harness.save(small, tmp_path / "first")
    second = harness.save(harness.load(first), tmp_path / "second")
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_tied_embeddings_are_stored_once_and_tied_again(small, tmp_path):
    folder = harness.save(small, tmp_path / "saved")
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    again = harness.load(folder).model
    assert again.lm_head.weight is again.get_input_embeddings().weight


@pytest.mark.parametrize("junction", JUNCTIONS)
def test_another_dtype_and_a_device_map_work_as_for_any_model(junction, one_thread, tmp_path):
    subject = compressed(Case("opt", "float32", "latentllm", junction))
    folder = harness.save(subject, tmp_path / "saved")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, device_map="cpu")
    assert torch.equal(
        model(**inputs_of(subject)).logits, subject.model.bfloat16()(**inputs_of(subject)).logits
    )
    assert {b.dtype for b in model.buffers() if not b.is_floating_point()} <= {
        torch.int32,
        torch.int64,
    }


def test_it_generates_by_its_own_settings(small, tmp_path):
    small.model.generation_config.max_new_tokens = 7
    small.model.generation_config.min_new_tokens = 7
    folder = harness.save(small, tmp_path / "saved")
    prompt = inputs_of(small)["input_ids"][:2, :5]
    again = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(again.generate(prompt), small.model.generate(prompt))
    assert again.generate(prompt).shape == (2, 12)
    assert len(AutoTokenizer.from_pretrained(folder)) == len(small.tokenizer)


def test_a_loaded_model_is_not_compressed_again(small, texts, tmp_path):
    again = harness.load(harness.save(small, tmp_path / "saved"))
    with pytest.raises(UsageError, match="compressed already; compress the original model"):
        harness.compress(again, "svd", 0.3, calibration=text_calibration(texts))


def text_calibration(texts):
    return harness.CalibrationSpec(text=str(texts / "calibration.txt"), samples=4, length=16)


@pytest.mark.slow  # interpreters that import torch
@pytest.mark.parametrize("first", ["transformers", "transformers.modeling_utils"])
def test_it_does_not_matter_which_is_imported_first(first, small, tmp_path):
    folder = harness.save(small, tmp_path / "saved")
    code = (
        f"import sys, {first}, harness; from transformers import AutoModelForCausalLM as A;"
        "print(type(A.from_pretrained(sys.argv[1])).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "LlamaForCausalLM"
