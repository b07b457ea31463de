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


STOCK = """
import json, sys
sys.modules["harness"] = None
import torch, transformers
from safetensors.torch import load_file, save_file
for folder in json.loads(sys.argv[1]):
    config = json.load(open(folder + "/config.json"))
    (name,) = config["architectures"]
    kind = getattr(transformers, name)
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    assert type(model).__module__.startswith("transformers.models."), type(model)
    with torch.no_grad():
        logits = model(**load_file(folder + ".inputs")).logits
    save_file({"logits": logits.contiguous()}, folder + ".logits")
"""


def width_of(small):
    (width,) = {layer.rank for layer in small.compression.layers if layer.form == "kept-columns"}
    return width


def test_blocks_of_one_width_make_a_smaller_checkpoint_that_stock_classes_open(
    one_thread, tmp_path
):
    expected = {}
    for case in NARROW:
        small = compressed(case)
        path = str(export_dense(small, tmp_path / case.family, narrow=True))
        save_file(inputs_of(small), path + ".inputs")
        expected[path] = logits(small)
        config = json.loads((tmp_path / case.family / "config.json").read_text())
        assert config["architectures"] == [type(small.model).__name__]
        assert "auto_map" not in config
        decoder = config.get("text_config", config)
        key = "ffn_dim" if case.family == "opt" else "intermediate_size"
        assert decoder[key] == width_of(small)
        whole = harness.load_model(path)
        assert sum(p.numel() for p in whole.model.parameters()) == small.compression.parameters
    subprocess.run([sys.executable, "-c", STOCK, json.dumps([*expected])], check=True)
    for path, wanted in expected.items():
        torch.testing.assert_close(load_file(path + ".logits")["logits"], wanted)


def test_a_model_on_disk_is_narrowed_the_same(one_thread, tmp_path):
    saved = harness.save(compressed(NARROW[1]), tmp_path / "saved")
    one = export_dense(harness.load(saved), tmp_path / "one", narrow=True)
    two = export_dense(harness.load(saved, offload=True), tmp_path / "two", narrow=True)
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in two.iterdir()
    }


def test_low_rank_attention_beside_fewer_neurons_is_multiplied_out(one_thread, tmp_path):
    small = compressed(Case("llama", "float32", "twinroot", "block-identity"))
    whole = harness.load_model(str(export_dense(small, tmp_path / "narrow", narrow=True)))
    assert whole.model.config.intermediate_size == width_of(small)
    torch.testing.assert_close(logits(whole), logits(small), rtol=1e-4, atol=1e-4)


def test_without_narrow_all_neurons_are_back(one_thread, tmp_path):
    small = compressed(NARROW[1])
    whole = harness.load_model(str(export_dense(small, tmp_path / "dense")))
    assert whole.model.config.intermediate_size == small.model.config.intermediate_size
    torch.testing.assert_close(logits(whole), logits(small), rtol=1e-4, atol=1e-4)


def test_a_tower_is_narrowed_where_its_configuration_has_a_place(one_thread, tmp_path):
    for family, place in {"qwen2_5_vl": True, "qwen2_vl": False}.items():
        case = Case(family, "float32", "twinroot", "block-identity", "vision", neurons="only")
        small = compressed(case)
        if not place:
            with pytest.raises(UsageError, match=r"qwen2_vl model has no place .*or pass --dense"):
                export_dense(small, tmp_path / family, narrow=True)
        folder = export_dense(small, tmp_path / family, narrow=place)
        whole = harness.load_model(str(folder))
        parameters = sum(p.numel() for p in whole.model.parameters())
        dense = sum(p.numel() for p in subject_of(family).model.parameters())
        assert parameters == (small.compression.parameters if place else dense)
        assert torch.allclose(logits(whole), logits(small), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (
            Case("llama", "float32", "twinroot", "left", neurons="only", ranks="fisher"),
            r"blocks have \d+ to \d+ neurons, .* compress with --ranks uniform, or pass --gguf",
        ),
        (Case("llama", "float32", "svd", "left"), "no block has lost neurons, .*--neurons only"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_cannot_be_narrow_is_refused(case, said, one_thread, tmp_path):
    with pytest.raises(UsageError, match=said):
        export_dense(compressed(case), tmp_path / "narrow", narrow=True)
    assert not [*tmp_path.iterdir()]


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
