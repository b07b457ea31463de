"""Saved folders: whole or absent, never over something else, and checked when they are read."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pickle
import shutil
import signal
import sys
from collections import namedtuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

import harness
from harness.checkpoints import shards
from harness.checkpoints.export import export_dense
from harness.checkpoints.saved_record import read_saved_record
from harness.errors import AssetError, HarnessError, InfrastructureError, UsageError
from tests.helpers.saved_models import Case, compressed, logits

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def small(one_thread):
    return compressed(Case("llama", "float32", "svd", "left"))


def change(path, **entries):
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def shard_of(folder):
    return min(folder.glob("model-*.safetensors"))


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_weights_are_split_as_transformers_splits_them(saved):
    index = json.loads((saved / "model.safetensors.index.json").read_text())
    files = sorted(path.name for path in saved.glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    assert sorted(set(index["weight_map"].values())) == files
    tensors = {name: load_file(saved / file) for file in files for name in [file]}
    assert {n: f for f, held in tensors.items() for n in held} == index["weight_map"]
    sizes = [sum(t.numel() * t.element_size() for t in held.values()) for held in tensors.values()]
    assert index["metadata"]["total_size"] == sum(sizes)
    assert sum(sizes) == read_saved_record(saved).compression.bytes
    assert all(
        size <= 30_000 or len(held) == 1 for size, held in zip(sizes, tensors.values(), strict=True)
    )


def test_tensors_are_written_while_they_come(tmp_path, monkeypatch):
    """Of ten tensors never more than the two of a shard are waited for."""
    made = []
    on_disk = []
    write = shards.save_file

    def spy(batch, path, metadata):
        on_disk.append(len(made))
        write(batch, path, metadata)

    def tensors():
        for number in range(10):
            made.append(number)
            yield f"t{number}", torch.full((100,), float(number))

    monkeypatch.setattr(shards, "save_file", spy)
    shards.write_shards(tensors(), tmp_path, shard_bytes=800)
    assert on_disk == [3, 5, 7, 9, 10]
    assert load_file(tmp_path / "model-00003-of-00005.safetensors")["t5"].unique() == 5


def test_whoever_may_read_one_file_may_read_all(saved):
    assert len({path.stat().st_mode for path in saved.iterdir()}) == 1


def test_a_dense_model_is_not_saved(tiny, tmp_path):
    with pytest.raises(UsageError, match="not compressed"):
        harness.save(tiny("opt"), tmp_path / "dense")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder", "model"])
@pytest.mark.parametrize("force", [False, True])
def test_what_is_not_ours_is_never_touched(kind, force, small, model_folder, tmp_path):
    target = tmp_path / "taken"
    if kind == "file":
        target.write_text("mine")
    elif kind == "folder":
        target.mkdir()
        (target / "thesis.tex").write_text("mine")
    else:
        shutil.copytree(model_folder("llama"), target)
    before = target.read_bytes() if kind == "file" else content(target)
    with pytest.raises(UsageError, match="exists and is no saved model; pass another folder"):
        harness.save(small, target, force=force)
    assert (target.read_bytes() if kind == "file" else content(target)) == before
    assert list(tmp_path.iterdir()) == [target]


def test_a_saved_model_is_replaced_only_by_force(small, saved):
    before = content(saved)
    with pytest.raises(UsageError, match="holds a saved model; pass --force"):
        harness.save(small, saved)
    assert content(saved) == before
    harness.save(small, saved, force=True)
    assert harness.load(saved).compression.label == "svd"
    assert [path.name for path in saved.parent.iterdir()] == ["small"]


def test_an_empty_folder_is_used(small, tmp_path):
    (tmp_path / "empty").mkdir()
    harness.save(small, tmp_path / "empty")
    assert harness.load(tmp_path / "empty").compression == small.compression


@pytest.mark.parametrize("write", [harness.save, export_dense])
def test_too_little_space_is_found_before_anything_is_written(write, small, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 64_000_100))
    with pytest.raises(InfrastructureError, match=r"takes 0\.06 GB and 0\.06 GB are free"):
        write(small, tmp_path / "deep" / "saved")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("existing", [False, True])
def test_a_disk_that_fills_up_leaves_what_was_there(existing, small, saved, monkeypatch):
    target = saved if existing else saved.parent / "new"
    before = content(saved)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shards, "save_file", full)
    with pytest.raises(InfrastructureError, match=r"No space left.*free some space"):
        harness.save(small, target, force=True)
    assert content(saved) == before
    assert list(saved.parent.iterdir()) == [saved]


def test_what_a_killed_process_left_is_cleared(small, tmp_path):
    left = tmp_path / ".saved.partial"
    left.mkdir()
    (left / "part-00000.safetensors").write_bytes(b"half")
    folder = harness.save(small, tmp_path / "saved")
    assert list(tmp_path.iterdir()) == [folder]
    assert not any("part" in path.name for path in folder.iterdir())


@pytest.mark.parametrize("step", ["save_file", "write_manifest"])
def test_a_kill_leaves_no_half_of_a_folder(step, small, tmp_path, monkeypatch):
    """Nor anything that stands in the way of saving again."""
    target = tmp_path / "saved"
    child = os.fork()
    if not child:
        home = shards if step == "save_file" else sys.modules["harness.checkpoints.save"]
        monkeypatch.setattr(home, step, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        harness.save(small, target)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".saved.partial"]
    harness.save(small, target)
    assert list(tmp_path.iterdir()) == [target]
    assert harness.load(target).compression == small.compression


def test_several_chat_templates_are_files_in_a_folder(small, tmp_path):
    small.tokenizer.chat_template = {"default": "a", "tools": "b"}
    folder = harness.save(small, tmp_path / "saved")
    small.tokenizer.chat_template = None
    assert harness.load(folder).tokenizer.chat_template == {"default": "a", "tools": "b"}
    (folder / "additional_chat_templates" / "tools.jinja").write_text("c")
    with pytest.raises(AssetError, match=r"tools\.jinja is not as it was saved"):
        harness.load(folder)


def test_two_processes_do_not_write_one_folder(small, tmp_path):
    partial = tmp_path / ".saved.partial"
    partial.mkdir()
    handle = os.open(partial, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(UsageError, match="another process is saving"):
        harness.save(small, tmp_path / "saved")
    os.close(handle)
    harness.save(small, tmp_path / "saved")


def test_the_card_may_be_edited(saved):
    (saved / "README.md").write_text("# My model")
    for harmless in ("notes.txt", ".gitattributes", "CITATION.cff", "figure.png"):
        (saved / harmless).write_text("mine")
    assert harness.load(saved).compression


def test_files_of_the_hubs_cache_are_links(saved, tmp_path):
    snapshot, blobs = tmp_path / "repo" / "snapshots" / "commit", tmp_path / "repo" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(saved.iterdir())):
        file.rename(blobs / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    assert harness.load(snapshot).compression


def lose_shard(folder):
    shard_of(folder).unlink()


def lose_manifest(folder):
    (folder / "harness.json").unlink()


def lose_record(folder):
    (folder / "record.json").unlink()


def flip_bit(folder):
    data = bytearray(shard_of(folder).read_bytes())
    data[-1] ^= 1
    shard_of(folder).write_bytes(data)


def cut_shard(folder):
    shard_of(folder).write_bytes(shard_of(folder).read_bytes()[:-8])


def edit_tokenizer(folder):
    change(folder / "tokenizer_config.json", model_max_length=7)


def add_pickle(folder):
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(print))


def add_weights(folder):
    """transformers prefers this file to the shards."""
    save_file({"lm_head.weight": torch.zeros(1)}, folder / "model.safetensors")


def add_tokens(folder):
    (folder / "added_tokens.json").write_text('{"the": 5}')


def add_template(folder):
    (folder / "chat_template.jinja").write_text("{{ messages }}")


def add_named_template(folder):
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tools.jinja").write_text("c")


def add_vocabulary(folder):
    (folder / "vocab.json").write_text("{}")


def add_adapter(folder):
    (folder / "adapter_config.json").write_text("{}")


def list_file(folder, name):
    files = json.loads((folder / "harness.json").read_text())["files"]
    change(folder / "harness.json", files=files | {name: {"bytes": 1, "sha256": "0" * 64}})


def leave_folder(folder):
    list_file(folder, "../../../x")


def leave_folder_inside(folder):
    list_file(folder, "a/../../x")


def name_with_null(folder):
    list_file(folder, "a\0b")


def name_absolute(folder):
    list_file(folder, "/etc/hostname")


def link_outside(folder):
    (folder.parent / "elsewhere").write_text("x")
    (folder / "inner.txt").symlink_to(folder.parent / "elsewhere")
    list_file(folder, "inner.txt")


def damage_manifest(folder):
    (folder / "harness.json").write_text('{"format": 1, "files": [')


def newer_manifest(folder):
    change(folder / "harness.json", format=2, also="new")


FAULTS = [
    (lose_shard, AssetError, r"lacks model-00001-of-\d+\.safetensors"),
    (lose_manifest, AssetError, r"lacks harness\.json"),
    (lose_record, AssetError, r"lacks record\.json"),
    (flip_bit, AssetError, r"model-00001-of-\d+\.safetensors is not as it was saved \(SHA-256"),
    (cut_shard, AssetError, r"model-00001-of-\d+\.safetensors is not as it was saved"),
    (edit_tokenizer, AssetError, r"tokenizer_config\.json is not as it was saved"),
    (add_pickle, AssetError, r"holds the pickle pytorch_model\.bin"),
    (add_weights, AssetError, r"model\.safetensors is no part of the saved model"),
    (add_tokens, AssetError, r"is not as it was saved: added_tokens\.json was added"),
    (add_template, AssetError, r"is not as it was saved: chat_template\.jinja was added"),
    (
        add_named_template,
        AssetError,
        r"not as it was saved: additional_chat_templates/tools\.jinja",
    ),
    (add_vocabulary, AssetError, r"is not as it was saved: vocab\.json was added"),
    (add_adapter, AssetError, r"is not as it was saved: adapter_config\.json was added"),
    (leave_folder, AssetError, r"lists '\.\./\.\./\.\./x', which is outside the folder"),
    (leave_folder_inside, AssetError, r"lists 'a/\.\./\.\./x', which is outside the folder"),
    (name_with_null, AssetError, r"lists 'a\\x00b', which is outside the folder"),
    (name_absolute, AssetError, r"lists '/etc/hostname', which is outside the folder"),
    (link_outside, AssetError, r"lists 'inner\.txt', which is outside the folder"),
    (damage_manifest, AssetError, r"harness\.json is damaged"),
    (newer_manifest, UsageError, r"saved in format 2, this harness reads 1; upgrade harness"),
]


@pytest.mark.parametrize(
    ("fault", "error", "message"), FAULTS, ids=lambda v: getattr(v, "__name__", "")
)
def test_a_folder_that_is_not_as_it_was_saved_is_refused(fault, error, message, saved):
    fault(saved)
    with pytest.raises(error, match=message) as caught:
        harness.load(saved)
    assert "\n" not in str(caught.value)
    with pytest.raises(error, match=message):
        harness.load_model(str(saved))


def test_a_newer_layout_is_refused_by_transformers_too(saved):
    layout = json.loads((saved / "config.json").read_text())["quantization_config"]
    change(saved / "config.json", quantization_config=layout | {"format": 3, "new": 1})
    with pytest.raises(UsageError, match=r"format 3.*upgrade harness"):
        AutoModelForCausalLM.from_pretrained(saved)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"form": "tensor-train"}, "unknown form 'tensor-train'; upgrade harness"),
        ({"path": "model.decoder.layers.7.fc1"}, "OPTForCausalLM has no layer"),
        ({"rank": "many"}, r"damaged \(quantization_config layers\.0\.rank"),
    ],
)
def test_a_layout_that_fits_nothing_is_refused(layer, message, saved):
    layout = json.loads((saved / "config.json").read_text())["quantization_config"]
    layout["layers"][0] |= layer
    change(saved / "config.json", quantization_config=layout)
    with pytest.raises(HarnessError, match=message):
        AutoModelForCausalLM.from_pretrained(saved)


def test_transformers_opens_no_pickle_in_a_saved_model(saved, tmp_path):
    """Nor where the manifest is not looked at, and the pickle is all there is."""
    for path in saved.glob("model*"):
        path.unlink()
    harm = tmp_path / "harm"

    class Harm:
        def __reduce__(self):
            return (harm.write_text, ("done",))

    (saved / "pytorch_model.bin").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(AssetError, match=r"pytorch_model\.bin is no safetensors file"):
        AutoModelForCausalLM.from_pretrained(saved)
    assert not harm.exists()


def test_a_shard_of_another_rank_is_refused(saved):
    """Where someone also mended the manifest."""
    shard = next(
        path for path in saved.glob("model-*") if any(".T" in name for name in load_file(path))
    )
    tensors = load_file(shard)
    name = next(name for name in tensors if name.endswith(".T"))
    save_file(tensors | {name: tensors[name][:-1]}, shard, metadata={"format": "pt"})
    manifest = json.loads((saved / "harness.json").read_text())
    from harness.support.hashing import content_sha256

    manifest["files"][shard.name] = {
        "bytes": shard.stat().st_size,
        "sha256": content_sha256(shard),
    }
    (saved / "harness.json").write_text(json.dumps(manifest))
    with pytest.raises(AssetError, match="another shape than config"):
        harness.load(saved)


def test_a_model_that_is_not_ours_is_not_loaded_as_ours(model_folder, tmp_path):
    for folder in (model_folder("llama"), tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError, match="holds no model saved by harness"):
            harness.load(folder)


def test_the_fingerprint_is_that_of_the_content(saved, tmp_path):
    again = harness.load(saved)
    moved = harness.load(saved.rename(tmp_path / "moved"))
    assert moved.asset.fingerprint == again.asset.fingerprint
    assert again.asset.fingerprint != again.origin.model.fingerprint
    assert torch.equal(logits(moved), logits(again))


def test_the_configuration_holds_no_path_of_this_machine(saved):
    for path in (saved / "config.json", saved / "generation_config.json"):
        assert str(saved.parent) not in path.read_text()
    assert AutoConfig.from_pretrained(saved).model_type == "opt"
