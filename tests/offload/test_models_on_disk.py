"""Models with their blocks on disk: the same logits, statistics and artefact as in memory."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from accelerate import dispatch_model

import harness
from harness.checkpoints.load import load_model
from harness.checkpoints.saved_record import read_saved_record
from harness.errors import UsageError
from harness.latent.install import with_latent_cache
from harness.latent.size import cache_bytes
from harness.offload.hooks import is_offloaded
from tests.offload.offloaded import CASES, Case, compress, in_memory, inputs, logits, opened


@pytest.mark.parametrize("family", ["opt", "opt-350m", "llama", "qwen3", "llava", "qwen2_vl"])
def test_the_dense_model_computes_the_same(family, folder):
    subject = opened(folder(family))
    assert is_offloaded(subject.model)
    assert torch.equal(logits(subject), logits(in_memory(folder(family))))
    assert subject.facts() == in_memory(folder(family)).facts()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_compression_gives_the_same_artefact(case, folder, tmp_path):
    one = compress(case, in_memory(folder(case.family)))
    two = compress(case, opened(folder(case.family)), tmp_path / "staging")
    assert is_offloaded(two.model)
    assert two.compression == one.compression
    assert two.origin == one.origin
    assert torch.equal(logits(two), logits(one))
    for subject, name in ((one, "one"), (two, "two")):
        harness.save(subject, tmp_path / name, shard_bytes=30_000)
    files = {path.name for path in (tmp_path / "one").iterdir()}
    assert files == {path.name for path in (tmp_path / "two").iterdir()}
    assert sum(name.endswith(".safetensors") for name in files) > 1
    for name in files - {"record.json", "harness.json"}:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    first, second = read_saved_record(tmp_path / "one"), read_saved_record(tmp_path / "two")
    assert (first.environment.offloaded, second.environment.offloaded) == (False, True)
    told = {"created": second.created, "environment": second.environment}
    assert second == first.model_copy(update=told)
    again = harness.load(tmp_path / "two", offload=True)
    assert is_offloaded(again.model)
    assert torch.equal(logits(again), logits(one))


@pytest.mark.parametrize("case", [CASES[0], CASES[4], CASES[6]], ids=str)
def test_a_latent_cache_gives_the_same_artefact(case, folder, tmp_path):
    one = with_latent_cache(compress(case, in_memory(folder(case.family))))
    two = with_latent_cache(compress(case, opened(folder(case.family)), tmp_path / "staging"))
    assert two.compression == one.compression
    assert two.compression.cache.numbers < two.compression.cache.dense
    for subject, name in ((one, "one"), (two, "two")):
        harness.save(subject, tmp_path / name, shard_bytes=30_000)
    for path in (tmp_path / "one").glob("*.safetensors"):
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()
    configs = {(tmp_path / name / "config.json").read_bytes() for name in ("one", "two")}
    assert len(configs) == 1
    again = harness.load(tmp_path / "two", offload=True)
    assert is_offloaded(again.model)
    caches = [generated(subject) for subject in (one, two, again)]
    assert all(torch.equal(cache[0], caches[0][0]) for cache in caches)
    assert len({size for _, size in caches}) == 1


def generated(subject):
    """Tokens, and bytes that the cache holds at the end."""
    options = {"max_new_tokens": 4, "do_sample": False, "return_dict_in_generate": True}
    made = subject.model.generate(**inputs(subject), **options)
    return made.sequences, cache_bytes(made.past_key_values)


def test_by_default_a_shard_is_no_larger_than_a_block(folder, tmp_path):
    case = CASES[0]
    small = compress(case, opened(folder(case.family)), tmp_path / "staging")
    harness.save(small, tmp_path / "small")
    assert len(list((tmp_path / "small").glob("*.safetensors"))) > 1
    assert torch.equal(logits(harness.load(tmp_path / "small")), logits(small))


@pytest.mark.slow  # counts at every layer that computes
@pytest.mark.parametrize("propagation", ["sequential", "original"])
def test_at_most_two_blocks_are_ever_in_memory(propagation, folder, tmp_path, monkeypatch):
    """Counted in parameters of the blocks, at every layer of every block that computes."""
    subject = opened(folder("opt-deep"))
    case = Case("opt-deep", "latentllm", "block-identity", propagation)
    one = sum(p.numel() for p in subject.model.model.decoder.layers[0].parameters())
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    made = torch.nn.Parameter.__new__

    def counted(cls, *arguments, **keywords):
        parameter = made(cls, *arguments, **keywords)
        alive.add(parameter)
        return parameter

    monkeypatch.setattr(torch.nn.Parameter, "__new__", counted)
    peak = 0

    def look(*_):
        nonlocal peak
        gc.collect()
        peak = max(peak, sum(p.numel() for p in alive if not p.is_meta))

    with torch.nn.modules.module.register_module_forward_pre_hook(look):
        small = compress(case, subject, tmp_path / "staging")
        look()
    assert one <= peak <= 2 * one
    assert all(p.is_meta for p in small.model.model.decoder.layers.parameters())
    harness.save(small, tmp_path / "small")
    assert torch.equal(logits(harness.load(tmp_path / "small")), logits(small))


def test_nothing_stays_on_the_meta_device(folder, tmp_path):
    case = CASES[0]
    small = compress(case, opened(folder(case.family)), tmp_path / "staging")
    harness.save(small, tmp_path / "small")
    for subject in (in_memory(tmp_path / "small"), in_memory(folder(case.family))):
        tensors = (*subject.model.parameters(), *subject.model.buffers())
        assert not any(tensor.is_meta for tensor in tensors)


def test_staging_is_for_models_on_disk_and_only_for_them(folder, tmp_path):
    case = CASES[0]
    with pytest.raises(UsageError, match="needs a folder for block checkpoints"):
        compress(case, opened(folder(case.family)))
    with pytest.raises(UsageError, match="no other model does"):
        compress(case, in_memory(folder(case.family)), tmp_path / "staging")


@pytest.mark.parametrize("propagation", ["sequential", "original"])
def test_a_model_spread_over_devices_is_compressed_like_any_other(propagation, folder):
    """On one device that stands for several: what moves inputs between them is there."""
    case = Case("llama", "latentllm", "block-identity", propagation)
    spread = in_memory(folder(case.family))
    parts = ["embed_tokens", "layers.0", "layers.1", "norm", "rotary_emb"]
    places = dict.fromkeys([f"model.{part}" for part in parts] + ["lm_head"], "cpu")
    dispatch_model(spread.model, places, main_device="cpu", force_hooks=True)
    assert hasattr(spread.model.model.layers[0], "_hf_hook")
    one, two = compress(case, in_memory(folder(case.family))), compress(case, spread)
    assert two.compression == one.compression
    assert torch.equal(logits(two), logits(one))
    assert torch.equal(logits(spread), logits(in_memory(folder(case.family))))


def test_auto_is_a_device(folder):
    subject = load_model(str(folder("opt")), device="auto")
    assert torch.equal(logits(subject), logits(in_memory(folder("opt"))))
    with pytest.raises(UsageError, match="compute on one device"):
        load_model(str(folder("opt")), device="auto", offload=True)
