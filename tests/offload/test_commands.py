"""``--offload`` on the command line, and models on disk that are not sound."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import harness
from harness.checkpoints.saved_record import read_saved_record
from harness.errors import AssetError, NonFiniteError
from harness.records import store
from tests.offload.offloaded import in_memory, logits, opened


@pytest.fixture
def asked(folder, texts, tmp_path):
    return [
        *("--model", folder("llama"), "--calibration", texts / "calibration.txt"),
        *("--samples", "4", "--length", "16", "--junction", "block-identity"),
    ]


@pytest.fixture
def tasks(texts):
    return ["--tasks", f"wikitext2={texts / 'evaluation.txt'}", "--window", "32"]


def results(folder):
    found, problems = store.load_all(folder)
    assert problems == []
    return {record.run_id: record for record in found}


def test_a_run_gives_the_same_records_and_the_same_model(cli, asked, tasks, tmp_path):
    for name, more in (("one", []), ("two", ["--offload"])):
        code, _, errors = cli(
            *("run", *asked, *tasks, *more),
            *("--output", tmp_path / "results" / name, "--save", tmp_path / name),
        )
        assert code == 0
        assert f"\nsaved to {tmp_path / name}\n" in errors
    one, two = results(tmp_path / "results" / "one"), results(tmp_path / "results" / "two")
    assert one.keys() == two.keys()
    for run_id, record in one.items():
        assert two[run_id].result == record.result
        assert two[run_id].compression == record.compression
        assert two[run_id].model == record.model
        assert (record.environment.offloaded, two[run_id].environment.offloaded) == (False, True)
    assert torch.equal(
        logits(harness.load(tmp_path / "one")), logits(harness.load(tmp_path / "two"))
    )
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two", "results"}
    code, _, _ = cli(
        *("run", "--model", tmp_path / "two", *tasks, "--offload"),
        *("--output", tmp_path / "results" / "again"),
    )
    assert code == 0
    (path,) = (tmp_path / "results" / "again").glob("*.json")
    assert cli("show", path)[1].count("blocks on disk") == 1
    (again,) = results(tmp_path / "results" / "again").values()
    assert again.result in [record.result for record in one.values() if record.compression]


def test_a_latent_cache_is_no_matter_of_where_blocks_are(cli, asked, tmp_path):
    for name, more in (("one", []), ("two", ["--offload"])):
        saved = cli("compress", *asked, *more, "--cache", "latent", "--save", tmp_path / name)
        assert saved[0] == 0
    one, two = (read_saved_record(tmp_path / name) for name in ("one", "two"))
    assert one.compression == two.compression
    assert one.compression.cache is not None
    configs = [(tmp_path / name / "config.json").read_bytes() for name in ("one", "two")]
    assert configs[0] == configs[1]


def test_a_run_that_saves_nothing_leaves_nothing(cli, asked, tasks, tmp_path):
    output = tmp_path / "results"
    more = ("--method", "svd", "latentllm", "--propagation", "original", "--offload")
    assert cli("run", *asked, *tasks, *more, "--output", output)[0] == 0
    assert len(results(output)) == 3
    assert {path.suffix for path in output.iterdir()} == {".json"}


@pytest.fixture
def changed(folder, tmp_path):
    """``changed(change)``: a model whose tensors went through ``change``, and its folder."""

    def write(change):
        copy = shutil.copytree(folder("llama"), tmp_path / "changed")
        index = json.loads((copy / "model.safetensors.index.json").read_text())["weight_map"]
        name = "model.layers.1.mlp.down_proj.weight"
        path = copy / index[name]
        tensors = load_file(path)
        change(tensors, name)
        save_file(tensors, path, metadata={"format": "pt"})
        return copy

    return write


def test_a_missing_tensor_is_told_when_the_model_is_opened(changed):
    with pytest.raises(AssetError, match="missing"):
        opened(changed(lambda tensors, name: tensors.pop(name)))


def test_a_tensor_of_another_shape_is_told_when_the_model_is_opened(changed):
    def cut(tensors, name):
        tensors[name] = tensors[name][:, :-1].contiguous()

    with pytest.raises(AssetError, match="another shape"):
        opened(changed(cut))


def test_a_missing_file_is_told_when_the_model_is_opened(changed):
    copy = changed(lambda *_: None)
    max(copy.glob("*.safetensors")).unlink()
    with pytest.raises(AssetError, match="lacks model-"):
        opened(copy)


def test_weights_that_are_not_finite_are_found_at_their_block(changed, cli, asked, tmp_path):
    def spoil(tensors, name):
        tensors[name][0, 0] = torch.nan

    copy = changed(spoil)
    code, _, errors = cli(
        *("compress", *asked, "--offload", "--model", copy, "--save", tmp_path / "small")
    )
    assert code == NonFiniteError.exit_code
    assert "the model itself holds NaN or infinity, in model.layers.1.mlp.down_proj" in errors
    assert not (tmp_path / "small").exists()


def test_pickled_weights_cannot_stay_on_disk(folder, tmp_path):
    copy = shutil.copytree(folder("llama"), tmp_path / "pickled")
    for path in copy.glob("model*"):
        path.unlink()
    torch.save(in_memory(folder("llama")).model.state_dict(), copy / "pytorch_model.bin")
    with pytest.raises(AssetError):
        opened(copy)


def test_a_full_disk_is_told_before_the_work(cli, asked, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=64_100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    code, _, errors = cli("compress", *asked, "--offload", "--save", tmp_path / "small")
    assert code == 3
    assert "are free; free some or choose another folder" in errors
    assert not list(tmp_path.iterdir())
