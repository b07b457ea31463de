"""Every reader of transformers finds in a saved folder what it finds in an ordinary one."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    pipeline,
)

import harness
from harness.assets.weight_files import NO_WEIGHTS
from harness.checkpoints.manifest import write_manifest
from harness.checkpoints.standalone import FILE
from harness.errors import AssetError
from harness.layers.factors import (
    CompressedLinear,
    HeadIdentity,
    InputIdentity,
    LowRank,
    OutputIdentity,
)
from harness.layers.pruned import KeptColumns, KeptRows
from tests.helpers.saved_models import CASES, Case, compressed, inputs_of, logits
from tests.helpers.tiny_models import MODELS
from tests.helpers.tiny_vision_models import VISION_MODELS

LLAMA = Case("llama", "float32", "latentllm", "block-identity")


@pytest.fixture(scope="module")
def small(one_thread):
    return compressed(LLAMA)


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    return harness.save(small, tmp_path_factory.mktemp("readers") / "saved")


def prompt_of(subject):
    return inputs_of(subject)["input_ids"][:2, :6]


def factors_in(model):
    return sum(isinstance(module, CompressedLinear) for module in model.modules())


def test_the_configuration_is_that_of_the_original_to_every_reader(small, folder):
    content = json.loads((folder / "config.json").read_text())
    assert content["model_type"] == "llama"
    for config in (AutoConfig.from_pretrained(folder), LlamaConfig.from_pretrained(folder)):
        assert type(config) is LlamaConfig
        expected = small.model.config.to_dict()
        found = config.to_dict()
        assert {key for key in expected if expected[key] != found.get(key)} <= {
            "architectures",
            "dtype",
            "_name_or_path",
        }


@pytest.mark.parametrize("opener", [AutoModelForCausalLM, LlamaForCausalLM])
@pytest.mark.parametrize(
    "options", [{}, {"device_map": "cpu"}, {"dtype": "auto"}, {"low_cpu_mem_usage": True}]
)
def test_causal_readers_agree_to_the_last_bit(opener, options, small, folder):
    model = opener.from_pretrained(folder, **options)
    assert torch.equal(model(**inputs_of(small)).logits, logits(small))


@pytest.mark.parametrize("family", [*MODELS, *VISION_MODELS])
def test_the_inner_model_opens_alone(family, one_thread, tmp_path):
    case = next(case for case in CASES if case.family == family and case.dtype == "float32")
    subject = compressed(case)
    inner = AutoModel.from_pretrained(harness.save(subject, tmp_path / "saved"))
    found = inner(**inputs_of(subject)).last_hidden_state
    whole = subject.model.base_model(**inputs_of(subject)).last_hidden_state
    assert factors_in(inner) == factors_in(subject.model)
    assert torch.equal(found, whole)


def test_sequence_classification_takes_all_but_its_head(small, folder):
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    inner = model.model(**inputs_of(small)).last_hidden_state
    assert torch.equal(inner, small.model.model(**inputs_of(small)).last_hidden_state)


def test_a_pipeline_opens_it(small, folder):
    writer = pipeline("text-generation", model=str(folder))
    words = writer("the cat", max_new_tokens=4, do_sample=False)[0]["generated_text"]
    ids = small.tokenizer("the cat", return_tensors="pt").input_ids
    expected = small.model.generate(ids, max_new_tokens=4, do_sample=False)
    assert words == small.tokenizer.decode(expected[0], skip_special_tokens=True)


MODES = {
    "greedy": {"do_sample": False},
    "sampled": {"do_sample": True, "temperature": 0.7, "top_k": 5, "top_p": 0.9},
    "beams": {"num_beams": 3},
    "sampled beams": {"num_beams": 2, "do_sample": True},
    "prompt lookup": {"do_sample": False, "prompt_lookup_num_tokens": 2},
    "static cache": {"do_sample": False, "cache_implementation": "static"},
    "no cache": {"do_sample": False, "use_cache": False},
}


@pytest.mark.parametrize("mode", MODES)
def test_it_generates_as_the_model_in_memory_does(mode, small, folder):
    answers = []
    ids = prompt_of(small)[:1]
    for model in (small.model, AutoModelForCausalLM.from_pretrained(folder)):
        torch.manual_seed(0)
        answers.append(model.generate(ids, max_new_tokens=6, **MODES[mode]))
    assert torch.equal(*answers)


def test_it_compiles(small, folder):
    compiled = torch.compile(AutoModelForCausalLM.from_pretrained(folder), backend="eager")
    torch.testing.assert_close(compiled(**inputs_of(small)).logits, logits(small))


def test_without_harness_nothing_is_filled_with_random_numbers(folder):
    code = (
        "import sys; from transformers import AutoModelForCausalLM, LlamaForCausalLM\n"
        "for opener in (AutoModelForCausalLM, LlamaForCausalLM):\n"
        "    try: opener.from_pretrained(sys.argv[1])\n"
        "    except OSError as error: print(error)\n"
        "    else: raise SystemExit('opened')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True
    )
    assert done.stdout.count(NO_WEIGHTS) == 2


def in_format_1(folder, model_type="llama"):
    """As the first version of the product wrote it."""
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content["quantization_config"] |= {"format": 1, "model_type": model_type}
    del content["transformers_weights"]
    path.write_text(json.dumps(content | {"model_type": "harness"}))
    (folder / "harness.json").unlink()
    write_manifest(folder)
    return folder


def test_folders_of_format_1_open(small, tmp_path):
    folder = in_format_1(harness.save(small, tmp_path / "saved"))
    assert torch.equal(logits(harness.load(folder)), logits(small))
    assert torch.equal(
        AutoModelForCausalLM.from_pretrained(folder)(**inputs_of(small)).logits, logits(small)
    )


@pytest.mark.parametrize("name", ["nonsense", None, 3])
def test_format_1_without_an_architecture_is_refused(name, small, tmp_path):
    folder = in_format_1(harness.save(small, tmp_path / "saved"), name)
    with pytest.raises(AssetError, match="architecture"):
        harness.load(folder)


ALONE = """
import json, sys
for name in ("harness", "compressors", "pydantic"):
    sys.modules[name] = None
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
torch.set_num_threads(1)
for folder, sees in json.loads(sys.argv[1]):
    opener = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    model = opener.from_pretrained(folder, trust_remote_code=True)
    with torch.no_grad():
        logits = model(**load_file(folder + ".inputs")).logits
    save_file({"logits": logits.contiguous()}, folder + ".logits")
    print(type(model).__module__)
"""


def test_transformers_alone_opens_it_by_the_code_that_it_brings(one_thread, tmp_path):
    """Every form, and a model that sees, without harness and what it needs."""
    cases = {case.junction: case for case in CASES if case.method == "latentllm"}
    cases |= {case.family: case for case in CASES if case.family in VISION_MODELS}
    cases |= {"neurons": next(case for case in CASES if case.method == "twinroot")}
    expected, jobs = {}, []
    for case in dict.fromkeys(cases.values()):
        subject = compressed(case)
        path = str(harness.save(subject, tmp_path / str(case)))
        expected[path] = logits(subject)
        save_file(inputs_of(subject), path + ".inputs")
        jobs.append((path, case.family in VISION_MODELS))
    environment = os.environ | {"HF_HOME": str(tmp_path / "hub")}  # where the code is copied to
    done = subprocess.run(
        [sys.executable, "-c", ALONE, json.dumps(jobs)],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert all(name.startswith("transformers.models.") for name in done.stdout.split())
    for path, wanted in expected.items():
        assert torch.equal(load_file(path + ".logits")["logits"], wanted), path


def test_the_code_is_that_of_the_package(folder):
    brought = ast.parse((folder / FILE).read_text())
    defined = {node.name: ast.dump(node) for node in brought.body if hasattr(node, "name")}
    for kind in (LowRank, InputIdentity, OutputIdentity, HeadIdentity, KeptRows, KeptColumns):
        (own,) = ast.parse(inspect.getsource(kind)).body
        assert defined[kind.__name__] == ast.dump(own)


def test_no_name_of_the_code_stands_for_two_things(folder):
    brought = ast.parse((folder / FILE).read_text())
    names = [node.name for node in brought.body if hasattr(node, "name")]
    assert len(names) == len(set(names))


def test_code_of_others_is_still_refused(small, tmp_path):
    folder = harness.save(small, tmp_path / "saved")
    path = folder / "config.json"
    content = json.loads(path.read_text()) | {"auto_map": {"AutoModel": "other.AutoModel"}}
    path.write_text(json.dumps(content))
    (folder / "harness.json").unlink()
    write_manifest(folder)
    with pytest.raises(AssetError, match="program code of the model's own"):
        harness.load(folder)
