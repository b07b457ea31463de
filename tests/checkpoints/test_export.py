"""An exported model is an ordinary checkpoint that gives the same logits but for rounding."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref

import pytest
import torch
from safetensors.torch import load_file, save_file

import harness
from harness.checkpoints.dense_tensors import DenseTensors
from harness.checkpoints.export import export_dense
from harness.errors import UsageError
from harness.latent.install import with_latent_cache
from harness.offload.hooks import is_offloaded
from tests.helpers.saved_models import (
    CASES,
    NARROW,
    Case,
    compressed,
    inputs_of,
    logits,
    subject_of,
)
from tests.helpers.tiny_vision_models import VISION_MODELS

PLAIN = """
import json, sys
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
assert "harness" not in sys.modules
for folder, sees in json.loads(sys.argv[1]):
    opener = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    model, report = opener.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    with torch.no_grad():
        logits = model(**load_file(folder + ".inputs")).logits
    save_file({"logits": logits.contiguous()}, folder + ".logits")
"""
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1, "float16": 0.01}
EXPORTED = [case for case in CASES if case.bias_update != "always"]


@pytest.fixture(scope="module")
def exported(one_thread, tmp_path_factory):
    """Logits of each case in factor form, and as plain transformers finds them after export."""
    folder = tmp_path_factory.mktemp("exported")
    before, jobs = {}, []
    for case in EXPORTED:
        subject = compressed(case)
        before[case] = logits(subject)
        path = str(export_dense(subject, folder / str(case)))
        save_file(inputs_of(subject), path + ".inputs")
        jobs.append((path, case.family in VISION_MODELS))
    subprocess.run([sys.executable, "-c", PLAIN, json.dumps(jobs)], check=True)
    return {
        case: (before[case], load_file(f"{folder / str(case)}.logits")["logits"])
        for case in EXPORTED
    }


@pytest.mark.parametrize("case", EXPORTED, ids=str)
def test_plain_transformers_finds_the_same_logits_but_for_rounding(case, exported):
    expected, found = exported[case]
    deviation = (found.double() - expected.double()).norm() / expected.double().norm()
    assert deviation < TOLERANCE[case.dtype]


@pytest.mark.parametrize("case", NARROW, ids=str)
def test_blocks_of_one_width_make_a_smaller_checkpoint(case, one_thread, tmp_path):
    small = compressed(case)
    folder = export_dense(small, tmp_path / "dense")
    (width,) = {layer.rank for layer in small.compression.layers if layer.form == "kept-columns"}
    config = json.loads((folder / "config.json").read_text())
    decoder = config.get("text_config", config)
    assert decoder["ffn_dim" if case.family == "opt" else "intermediate_size"] == width
    whole = harness.load_model(str(folder))
    assert sum(p.numel() for p in whole.model.parameters()) == small.compression.parameters
    assert type(whole.model) is type(small.model)


def test_a_tower_is_narrowed_where_its_configuration_has_a_place(one_thread, tmp_path):
    for family, place in {"qwen2_5_vl": True, "qwen2_vl": False}.items():
        case = Case(family, "float32", "twinroot", "block-identity", "vision", neurons="only")
        small = compressed(case)
        folder = export_dense(small, tmp_path / family)
        whole = harness.load_model(str(folder))
        parameters = sum(p.numel() for p in whole.model.parameters())
        dense = sum(p.numel() for p in subject_of(family).model.parameters())
        assert parameters == (small.compression.parameters if place else dense)
        assert torch.allclose(logits(whole), logits(small), rtol=1e-4, atol=1e-4)


def test_blocks_of_unequal_widths_are_exported_with_all_neurons(one_thread, tmp_path):
    case = Case("llama", "float32", "twinroot", "block-identity", neurons="only", ranks="fisher")
    small = compressed(case)
    widths = {layer.rank for layer in small.compression.layers if layer.form == "kept-columns"}
    assert len(widths) > 1
    whole = harness.load_model(str(export_dense(small, tmp_path / "dense")))
    assert whole.model.config.intermediate_size == small.model.config.intermediate_size
    assert torch.allclose(logits(whole), logits(small), rtol=1e-4, atol=1e-4)


@pytest.fixture
def saved(one_thread, tmp_path):
    small = compressed(Case("qwen2_5_vl", "bfloat16", "latentllm", "block-identity", "all"))
    return harness.save(small, tmp_path / "saved")


def test_exporting_what_was_saved_leaves_no_trace_of_us(saved, tmp_path):
    folder = export_dense(harness.load(saved), tmp_path / "dense", shard_bytes=50_000)
    original = subject_of("qwen2_5_vl", "bfloat16")
    original.model.save_pretrained(tmp_path / "original", max_shard_size=50_000)
    original.processor.save_pretrained(tmp_path / "original")
    names = {path.name for path in folder.iterdir()}
    assert names >= {path.name for path in (tmp_path / "original").iterdir()}
    assert not names & {"README.md", "harness.json", "record.json"}
    assert json.loads((folder / "config.json").read_text()) == json.loads(
        (tmp_path / "original" / "config.json").read_text()
    )
    for path in folder.glob("*.json"):
        assert "harness" not in path.read_text(), path.name


def test_tensors_have_the_names_that_published_checkpoints_give_them(saved, tmp_path):
    export_dense(harness.load(saved), tmp_path / "dense")
    fresh = subject_of("qwen2_5_vl", "bfloat16").model
    type(fresh)(fresh.config).save_pretrained(tmp_path / "fresh")
    expected, found = (
        {name: one.shape for name, one in load_file(path / "model.safetensors").items()}
        for path in (tmp_path / "fresh", tmp_path / "dense")
    )
    assert found == expected


@pytest.mark.parametrize("cache", ["expanded", "latent"])
@pytest.mark.parametrize("family", ["opt", "qwen2_5_vl"])
def test_a_model_on_disk_exports_the_same_files(family, cache, one_thread, tmp_path):
    small = compressed(Case(family, "float32", "latentllm", "block-identity"))
    small = with_latent_cache(small) if cache == "latent" else small
    saved = harness.save(small, tmp_path / "saved")
    subject = harness.load(saved, offload=True)
    one = export_dense(harness.load(saved), tmp_path / "one", shard_bytes=50_000)
    two = export_dense(subject, tmp_path / "two", shard_bytes=50_000)
    assert is_offloaded(subject.model)
    assert len(list(one.glob("*.safetensors"))) > 1
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in two.iterdir()
    }


def test_no_more_than_a_shard_is_in_memory(saved, tmp_path, monkeypatch):
    made: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    make, peak = DenseTensors.__missing__, 0
    subject = harness.load(saved, offload=True)
    in_memory = {id(one) for one in (*subject.model.parameters(), *subject.model.buffers())}

    def counted(self, name):
        nonlocal peak
        tensor = make(self, name)
        if id(tensor) not in in_memory:
            made.add(tensor)
        peak = max(peak, sum(one.nbytes for one in made))
        return tensor

    monkeypatch.setattr(DenseTensors, "__missing__", counted)
    folder = export_dense(subject, tmp_path / "dense", shard_bytes=20_000)
    shards = [path.stat().st_size for path in folder.glob("*.safetensors")]
    assert len(shards) > 3
    assert 0 < peak <= max(shards)


def test_the_model_exported_from_stays_as_it_was(saved, tmp_path):
    subject = harness.load(saved)
    before = logits(subject)
    export_dense(subject, tmp_path / "dense")
    assert torch.equal(logits(subject), before)
    assert subject.model.config.quantization_config.layout.layers


def test_a_bias_without_a_place_is_refused(one_thread, tmp_path):
    case = next(case for case in CASES if case.bias_update == "always")
    with pytest.raises(UsageError, match=r"q_proj got a bias.*--bias-update auto or never"):
        export_dense(compressed(case), tmp_path / "dense")
    assert not (tmp_path / "dense").exists()


def test_a_dense_model_is_not_exported(tiny, tmp_path):
    with pytest.raises(UsageError, match="not compressed"):
        export_dense(tiny("opt"), tmp_path / "dense")
