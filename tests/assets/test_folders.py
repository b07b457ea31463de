"""Which files make a model: those that transformers opens, and an adapter never."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.models.auto.tokenization_auto import (
    TOKENIZER_MAPPING_NAMES,
    tokenizer_class_from_name,
)

from harness.assets.folders import TOKENIZERS, model_files
from harness.assets.weight_files import INDEX, ORDER, SINGLE, opened_weights
from harness.checkpoints.resolve import resolve_model
from harness.errors import AssetError
from tests.assets.tiny_gguf import random_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "model"
    random_model("llama", tied=True).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "model"))


def scaled(folder: Path, factor: float) -> dict[str, torch.Tensor]:
    return {name: t * factor for name, t in load_file(folder / SINGLE).items()}


def write_all(folder: Path) -> dict[str, float]:
    """The same weights in every form, each times another factor."""
    factors = dict(zip(ORDER, (1.0, 2.0, 3.0, 4.0), strict=True))
    for name, factor in factors.items():
        tensors = scaled(folder, factor)
        shard = f"shard-{factor:g}.{'bin' if 'bin' in name else 'safetensors'}"
        if name.endswith("index.json"):
            content = {"metadata": {}, "weight_map": dict.fromkeys(tensors, shard)}
            (folder / name).write_text(json.dumps(content))
        target = folder / (shard if name.endswith("index.json") else name)
        if target.suffix == ".bin":
            torch.save(tensors, target)
        else:
            save_file(tensors, target, metadata={"format": "pt"})
    return factors


def test_of_several_weights_those_are_named_that_transformers_reads(folder: Path) -> None:
    name = "model.norm.weight"
    plain = scaled(folder, 1)[name]
    for first, factor in write_all(folder).items():
        read = AutoModelForCausalLM.from_pretrained(folder).state_dict()[name]
        assert torch.equal(read, plain * factor)
        weights = opened_weights(folder)
        assert (weights.index or weights.files[0]).name == first
        assert {*weights.files} <= {*model_files(folder)}
        (folder / first).unlink()
    assert opened_weights(folder).files == ()


def test_what_lies_beside_the_weights_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shard = folder / "model-00001-of-00002.safetensors"
    shutil.copy(folder / SINGLE, shard)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": shard.name}}))
    (note,) = resolve_model(str(folder)).notes
    assert note == f"weights read from {SINGLE}, not from {shard.name} beside it"
    assert resolve_model(str(folder)).notes == (note,)
    assert caplog.messages == [f"{folder}: {note}"]
    (folder / SINGLE).unlink()
    assert resolve_model(str(folder)).notes == ()


def test_shards_of_any_name_decide_the_fingerprint(folder: Path) -> None:
    shard = folder / "part-a.safetensors"
    (folder / SINGLE).rename(shard)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": shard.name}}))
    before = resolve_model(str(folder)).fingerprint
    save_file({"a": torch.zeros(3)}, shard)
    assert resolve_model(str(folder)).fingerprint != before


def test_weights_that_the_configuration_names_are_those_that_count(folder: Path) -> None:
    save_file({"a": torch.zeros(3)}, folder / "other.safetensors")
    config = json.loads((folder / "config.json").read_text())
    content = config | {"transformers_weights": "other.safetensors"}
    (folder / "config.json").write_text(json.dumps(content))
    assert folder / "other.safetensors" in model_files(folder)
    assert SINGLE in resolve_model(str(folder)).notes[0]
    (folder / "other.safetensors").unlink()
    with pytest.raises(AssetError, match=r"lacks other.safetensors, which its config.json names"):
        resolve_model(str(folder))


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/tmp/x.safetensors"])  # noqa: S108
def test_an_index_that_leaves_the_folder_is_refused(folder: Path, name: str) -> None:
    shutil.copy(folder / SINGLE, folder.parent / "elsewhere.safetensors")
    (folder / SINGLE).unlink()
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(AssetError, match="names weights outside its folder"):
        resolve_model(str(folder))


@pytest.mark.parametrize(
    "index", ["[" * 100_000, '{"weight_map": [1]}', '{"weight_map": {"a": 1}}']
)
def test_an_index_that_lists_no_files_is_damaged(folder: Path, index: str) -> None:
    (folder / SINGLE).unlink()
    (folder / INDEX).write_text(index)
    with pytest.raises(AssetError, match="it is no list of weights"):
        resolve_model(str(folder))


def test_an_adapter_is_refused_with_the_way_to_merge_it(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(AssetError, match=r"adapter_config.json is an adapter.*merge_and_unload"):
        resolve_model(str(folder))


@pytest.mark.parametrize(
    "name",
    ["generation_config.json", "chat_template.jinja", "additional_chat_templates/a.jinja",
     "added_tokens.json", "processor_config.json", "tekken.json"],
)  # fmt: skip
def test_what_transformers_would_read_decides_the_fingerprint(folder: Path, name: str) -> None:
    before = resolve_model(str(folder)).fingerprint
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text('{"a": 1}')
    assert resolve_model(str(folder)).fingerprint != before


def test_every_vocabulary_of_every_tokenizer_counts(tmp_path: Path) -> None:
    names = set()
    for tokenizer in filter(None, TOKENIZER_MAPPING_NAMES.values()):
        with contextlib.suppress(ImportError):  # needs a package that is not installed
            if known := tokenizer_class_from_name(tokenizer):
                names |= {*getattr(known, "vocab_files_names", {}).values()}
    for name in filter(None, names):
        (tmp_path / name).write_text("")
    counted = {f.name for pattern in TOKENIZERS for f in tmp_path.glob(pattern)}
    assert len(names) > 10
    assert {*filter(None, names)} <= counted
