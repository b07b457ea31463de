"""One attention that caches latents: against plain loops, in bounded memory, and refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from numpy.testing import assert_allclose
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Cache, DynamicCache, QuantizedCache
from transformers.cache_utils import DynamicLayer

import harness
from harness.errors import UsageError
from harness.latent import attention as latent_attention
from harness.latent.attention import LatentAttention
from harness.latent.install import install, with_latent_cache
from harness.layers.factors import stored_bytes
from harness.models.language_model import share_copy
from harness.records.spec import CalibrationSpec
from tests.helpers.tiny_models import random_calibration
from tests.latent.subjects import METHODS, compressed, padded, text_pair, with_attention

pytestmark = pytest.mark.usefixtures("one_thread")
TOKENS = 7


def affine(factor, x):
    y = x @ factor.dense().numpy().T
    return y if factor.bias is None else y + factor.bias.numpy()


def brute_force(attention, x, frequencies):
    """The textbook's loops over heads, queries and keys, from dense matrices, in numpy."""
    wiring = attention.wiring
    layers = [getattr(attention, name) for name in (wiring.query, wiring.key, wiring.value)]
    q, k, v = (affine(layer, x).reshape(len(x), -1, attention.head_dim) for layer in layers)
    if wiring.key_norm:
        q, k = (
            y
            / ((y**2).mean(-1, keepdims=True) + norm.variance_epsilon) ** 0.5
            * norm.weight.detach().numpy()
            for y, norm in ((q, attention.q_norm), (k, attention.k_norm))
        )

    def turned(vector, position):
        if frequencies is None:
            return vector
        half = len(vector) // 2
        result = vector.copy()
        for i, frequency in enumerate(frequencies):
            c, s = math.cos(position * frequency), math.sin(position * frequency)
            a, b = vector[i], vector[i + half]
            result[i], result[i + half] = a * c - b * s, b * c + a * s
        return result

    outputs = []
    for n in range(len(x)):
        heads = []
        for head in range(wiring.heads):
            shared = head // (wiring.heads // wiring.kv_heads)
            scores = [
                turned(q[n, head], n) @ turned(k[m, shared], m) / math.sqrt(attention.head_dim)
                for m in range(n + 1)
            ]
            weights = [math.exp(score - max(scores)) for score in scores]
            mixed = sum(w * v[m, shared] for m, w in enumerate(weights)) / sum(weights)
            heads.extend(mixed)
        outputs.append(heads)
    return affine(getattr(attention, wiring.output), torch.tensor(outputs).numpy())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["opt", "llama", "qwen2", "qwen3"])
def test_tokens_one_by_one_give_what_loops_give(name, method):
    _, latent = text_pair(name, method)
    first = latent.family.blocks(latent.model)[0].module.self_attn
    x = torch.randn(1, TOKENS, 32, generator=torch.Generator().manual_seed(0)).double()
    rotary = getattr(latent.model.model, "rotary_emb", None)
    cache = DynamicCache(config=latent.model.config)
    outputs = []
    for n in range(TOKENS):
        turn = rotary and rotary(x, torch.tensor([[n]]))
        outputs.append(first(x[:, n : n + 1], position_embeddings=turn, past_key_values=cache)[0])
    frequencies = None if rotary is None else rotary.inv_freq.tolist()
    # Positions are turned into angles, and norms taken, in float32.
    assert_allclose(
        torch.cat(outputs, 1)[0].detach().numpy(),
        brute_force(first, x[0].numpy(), frequencies),
        rtol=1e-5,
        atol=1e-5 if rotary else 1e-12,
    )


class Largest(TorchDispatchMode):
    """Numbers in the largest tensor that any operation makes, and that a kernel gets as keys."""

    numbers = keys = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if "scaled_dot_product" in str(function):
            self.keys = max(self.keys, args[1].numel())
        given = {t.untyped_storage().data_ptr() for t in args if isinstance(t, torch.Tensor)}
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if (
                isinstance(tensor, torch.Tensor)
                and tensor.untyped_storage().data_ptr() not in given
            ):
                self.numbers = max(self.numbers, tensor.numel())
        return result


@torch.no_grad()
def largest(latent, implementation, past, queries):
    """Of one attention: when ``past`` tokens fill its cache, and when ``queries`` follow them."""
    model = with_attention(latent, implementation)
    first = latent.family.blocks(model)[0].module.self_attn
    rotary = getattr(model.model, "rotary_emb", None)
    cache = DynamicCache(config=model.config)
    x = torch.randn(1, past + queries, 32, generator=torch.Generator().manual_seed(0)).double()
    turn = rotary and rotary(x, torch.arange(past + queries)[None])

    def run(part):
        turned = turn and tuple(t[:, part] for t in turn)
        mask = torch.ones(1, 1, part.stop, part.stop, dtype=torch.bool).tril()[:, :, part]
        fills = part.start is None and implementation == "sdpa"
        with Largest() as found:
            weights = first(
                x[:, part],
                position_embeddings=turned,
                attention_mask=None if fills else mask,
                past_key_values=cache,
            )[1]
        assert weights is None
        return found

    return run(slice(past)), run(slice(past, past + queries))


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("queries", [1, 20])
@pytest.mark.parametrize("name", ["opt", "llama", "qwen3"])
def test_no_tensor_grows_with_the_cached_tokens(name, queries, implementation, monkeypatch):
    _, latent = text_pair(name, "identity", ratio=0.8)
    past = 200
    first = latent.family.blocks(latent.model)[0].module.self_attn
    wiring = first.wiring
    # Appending makes new tensors of what is cached; some are as large as all queries.
    appended = max(first.k_proj.rank, first.v_proj.rank, first.rotation_numbers() // 2)
    of_queries = wiring.heads * first.head_dim
    bound = max((past + queries) * appended, queries * of_queries, 500)
    monkeypatch.setattr(latent_attention, "SHORTEST", 8)
    monkeypatch.setattr(latent_attention, "TRANSIENT", 500)
    fill, found = largest(latent, implementation, past, queries)
    assert found.numbers <= bound
    assert fill.numbers <= past * of_queries
    if implementation == "sdpa":
        assert fill.keys == past * first.head_dim
    monkeypatch.setattr(latent_attention, "TRANSIENT", 2**30)
    fill, found = largest(latent, implementation, past, queries)
    if wiring.rotated or queries > 1:
        assert found.numbers > bound
    if implementation == "sdpa":
        assert fill.keys == past * first.head_dim * wiring.kv_heads
    else:
        assert fill.numbers >= past * past * wiring.heads


def test_no_tensor_is_added_and_the_model_given_stays_as_it_is():
    plain, latent = text_pair("llama")
    assert list(plain.model.state_dict()) == list(latent.model.state_dict())
    ours, theirs = (subject.model.state_dict(keep_vars=True) for subject in (latent, plain))
    assert all(ours[name] is theirs[name] for name in ours)
    assert stored_bytes(latent.model) == stored_bytes(plain.model)
    assert not any(isinstance(module, LatentAttention) for module in plain.model.modules())
    assert plain.compression.cache is None


def test_asking_twice_is_asking_once():
    _, latent = text_pair("llama")
    again = with_latent_cache(latent)
    assert again.compression == latent.compression
    attention = again.family.blocks(again.model)[0].module.self_attn
    assert type(attention) is type(latent.family.blocks(latent.model)[0].module.self_attn)


def test_a_wrapped_attention_is_no_silent_bystander(tiny):
    small = compressed(tiny("llama"), random_calibration())
    add_hook_to_module(small.family.blocks(small.model)[1].module.self_attn, ModelHook())
    with pytest.raises(UsageError, match="wrapped already, as accelerate does"):
        install(small.model, small.family)


def test_a_family_without_latent_attention_keeps_its_factors_and_says_so():
    plain, _ = text_pair("llama")
    language = replace(plain.family.language, latent=None)
    other = with_latent_cache(replace(plain, family=replace(plain.family, language=language)))
    facts = other.compression.cache
    assert facts.expanded == {"*": "family 'llama' declares no latent attention"}
    assert facts.numbers == facts.dense == 2 * 2 * 16
    inputs = padded()
    assert torch.equal(other.model(**inputs).logits, plain.model(**inputs).logits)


def test_a_layer_that_has_no_latent_is_named(tiny):
    whole = compressed(tiny("qwen2"), random_calibration(), "joint-plain", ratio=0.0)
    part = compressed(tiny("qwen2"), random_calibration(), "joint-plain")
    blocks = part.family.blocks(part.model)
    blocks[1].module.self_attn.v_proj = whole.family.blocks(whole.model)[1].module.self_attn.v_proj
    facts = install(part.model, part.family)
    assert facts.expanded == {"model.layers.1": "the value projection is not in low-rank form"}
    attention = blocks[0].module.self_attn
    assert facts.numbers == attention.k_proj.rank + attention.v_proj.rank + 32
    inputs = padded()
    expected = part.model(**inputs, use_cache=False).logits
    cache = DynamicCache(config=part.model.config)
    for start, stop in ((0, 7), (7, 12)):
        found = part.model(
            input_ids=inputs["input_ids"][:, start:stop],
            attention_mask=inputs["attention_mask"][:, :stop],
            past_key_values=cache,
        ).logits
    torch.testing.assert_close(found, expected[:, 7:], rtol=2e-5, atol=2e-5)


def test_what_cannot_hold_latents_is_refused(tiny):
    class Lossy(DynamicLayer):
        pass

    plain, latent = text_pair("llama")
    inputs = padded()
    with pytest.raises(UsageError, match="cannot keep its latents in a Lossy; use a DynamicCache"):
        latent.model(**inputs, past_key_values=Cache(layer_class_to_replicate=Lossy))
    for name in ("llama", "opt"):
        plain, latent = text_pair(name)
        quantised = QuantizedCache("fp8", latent.model.config)
        with pytest.raises(UsageError, match="latents in a Fp8QuantizedLayer; use a DynamicCache"):
            latent.model(**inputs, past_key_values=quantised)
        filled = plain.model(input_ids=inputs["input_ids"], use_cache=True).past_key_values
        with pytest.raises(UsageError, match="start from an empty cache"):
            latent.model(input_ids=inputs["input_ids"], past_key_values=filled)
    model = share_copy(latent.model)
    model.config._attn_implementation = "flex_attention"
    with pytest.raises(UsageError, match="does not run with attention implementation 'flex_atten"):
        model.model.decoder.layers[0].self_attn(
            torch.zeros(1, 2, 32).double(), past_key_values=DynamicCache()
        )
    with pytest.raises(UsageError, match="a dense model has no latents to cache"):
        with_latent_cache(tiny("opt"))


def test_from_python(model_folder, texts):
    dense = harness.load_model(str(model_folder("llama")))
    calibration = CalibrationSpec(text=str(texts / "calibration.txt"), samples=4, length=16)
    small = harness.compress(dense, "latentllm", 0.4, calibration=calibration, cache="latent")
    assert small.compression.cache.expanded == {}
    assert small.compression.cache.numbers < small.compression.cache.dense
    with pytest.raises(UsageError, match="unknown cache 'latents'; did you mean latent"):
        harness.compress(dense, "svd", 0.4, calibration=calibration, cache="latents")
