"""Streaming statistics of whole models against brute force on stored activations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from harness.calibration.text import TextCalibration
from harness.compression.compressor import compressors
from harness.compression.job import CompressionJob
from harness.compression.pipeline import compress_model
from harness.errors import NonFiniteError
from harness.families.family import family_of
from harness.layers.roles import SITE_OF_ROLE
from harness.models.language_model import share_copy
from harness.plugins.options import configure
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.block_stream import BlockStream
from harness.statistics.collect import collect
from harness.statistics.moments import Moments
from harness.support.progress import silent
from tests.helpers.tiny_models import MODELS, random_calibration, random_model, stored_inputs


@pytest.fixture(params=MODELS)
def name(request, one_thread):
    return request.param


def blocks_of(model):
    return family_of(model.config).blocks(model)


def gather(model, calibration, batch_size=4, keep_mlp_tokens=True):
    return collect(
        model,
        family_of(model.config).blocks(model),
        calibration,
        batch_size=batch_size,
        keep_mlp_tokens=keep_mlp_tokens,
        track=silent,
    )


def assert_moments(moments, x, tolerance=1e-12):
    assert moments.count == len(x)
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(moments.second, x.T @ x / len(x), **close)
    torch.testing.assert_close(moments.mean, x.mean(0), **close)
    torch.testing.assert_close(moments.magnitude, x.abs().mean(0), **close)


def assert_same_statistics(found, expected, tolerance=1e-12):
    for one, other in zip(found, expected, strict=True):
        assert one.moments.keys() == other.moments.keys()
        for site, moments in one.moments.items():
            for part in ("count", "second", "mean", "magnitude"):
                a, b = getattr(moments, part), getattr(other.moments[site], part)
                torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(one.mlp_tokens, other.mlp_tokens, rtol=tolerance, atol=tolerance)
        assert (one.inverse_norms is None) == (other.inverse_norms is None)
        for a, b in zip(one.inverse_norms or (), other.inverse_norms or (), strict=True):
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_moments_equal_those_of_all_activations_at_once(name):
    model, calibration = random_model(name), random_calibration(samples=5, length=13)
    family = family_of(model.config).language
    for index, seen in enumerate(gather(model, calibration, batch_size=3)):
        assert set(seen.moments) == set(SITE_OF_ROLE.values())
        for role, path in family.layers.items():
            x = stored_inputs(model, f"{family.blocks}.{index}.{path}", calibration.input_ids)
            assert_moments(seen.moments[SITE_OF_ROLE[role]], x)
            if role == "up":
                torch.testing.assert_close(seen.mlp_tokens, x, rtol=0, atol=1e-12)


def test_every_batch_size_gives_the_same(name):
    model, calibration = random_model(name), random_calibration(samples=5, length=13)
    expected = gather(model, calibration, batch_size=5)
    for batch_size in (1, 2, 64):
        assert_same_statistics(gather(model, calibration, batch_size), expected)


def test_inverse_norms_are_those_before_the_head_norms():
    model, calibration = random_model("qwen3"), random_calibration()
    for index, seen in enumerate(gather(model, calibration)):
        for which, mean in zip(("q_norm", "k_norm"), seen.inverse_norms, strict=True):
            path = f"model.layers.{index}.self_attn.{which}"
            heads = stored_inputs(model, path, calibration.input_ids)
            expected = heads.square().mean(-1).rsqrt().mean(0)
            torch.testing.assert_close(mean, expected, rtol=1e-12, atol=0)


def test_mlp_tokens_are_kept_only_on_demand():
    model = random_model("llama")
    assert gather(model, random_calibration(), keep_mlp_tokens=False)[0].mlp_tokens is None


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_enters_no_statistic(name, side):
    model = random_model(name)
    lengths = (3, 9, 6)
    rows = [random_calibration(1, length, seed=length).input_ids[0] for length in lengths]
    ids, mask = torch.zeros(3, 9, dtype=torch.long), torch.zeros(3, 9, dtype=torch.long)
    for row, tokens in enumerate(rows):
        place = slice(9 - len(tokens), 9) if side == "left" else slice(len(tokens))
        ids[row, place], mask[row, place] = tokens, 1
    facts = random_calibration().facts
    padded = gather(model, TextCalibration(ids, mask, facts), batch_size=2)
    family = family_of(model.config).language
    for index, seen in enumerate(padded):
        for role, path in family.layers.items():
            alone = [
                stored_inputs(model, f"{family.blocks}.{index}.{path}", tokens[None])
                for tokens in rows
            ]
            # Rotary embeddings and norms of transformers compute in float32.
            assert_moments(seen.moments[SITE_OF_ROLE[role]], torch.cat(alone), 1e-5)
        paths = [path for path in (family.query_norm, family.key_norm) if path]
        norms = zip(paths, seen.inverse_norms or (), strict=True)
        for path, mean in norms:
            alone = [
                stored_inputs(model, f"{family.blocks}.{index}.{path}", tokens[None])
                for tokens in rows
            ]
            expected = torch.cat(alone).square().mean(-1).rsqrt().mean(0)
            torch.testing.assert_close(mean, expected, rtol=1e-5, atol=0)
    flow = BlockStream(model, blocks_of(model), TextCalibration(ids, mask, facts), 2)
    for index in range(2):
        measured = flow.measure(index, keep_mlp_tokens=True)
        assert_same_statistics([measured], [padded[index]])
        flow.advance(index)


def test_layers_that_share_their_input_share_their_moments(name):
    seen = gather(random_model(name), random_calibration())[0]
    assert len(seen.moments) == 4
    assert SITE_OF_ROLE["query"] == SITE_OF_ROLE["key"] == SITE_OF_ROLE["value"]


def test_no_activation_outlives_its_batch():
    model, activations, alive = random_model("llama"), [], []
    for block in family_of(model.config).language.block_list(model):
        for module in block.modules():
            module.register_forward_hook(
                lambda _, inputs, output: activations.extend(
                    StorageWeakRef(tensor.untyped_storage())
                    for tensor in (*inputs, output)
                    if isinstance(tensor, torch.Tensor)
                )
            )

    def track(pairs, _description, _total):
        for pair in pairs:
            yield pair
            alive.append(sum(not one.expired() for one in activations))

    calibration = random_calibration(10, 16)
    collect(model, blocks_of(model), calibration, batch_size=2, keep_mlp_tokens=True, track=track)
    assert len(activations) > 100
    assert alive == [0] * 5


def test_statistics_are_no_larger_for_a_longer_calibration():
    def size(samples):
        seen = gather(random_model("llama"), random_calibration(samples), keep_mlp_tokens=False)
        parts = [vars(moments).values() for one in seen for moments in one.moments.values()]
        return sum(part.numel() for values in parts for part in values if torch.is_tensor(part))

    assert size(2) == size(9) == 2 * (3 * (32 * 32 + 32 + 32) + 48 * 48 + 48 + 48)


def test_no_hook_is_left_behind(name):
    model = random_model(name)
    gather(model, random_calibration())
    BlockStream(model, blocks_of(model), random_calibration(), 4).measure(0, keep_mlp_tokens=False)
    broken = random_calibration()
    broken.input_ids[-1, -1] = 10**6
    with pytest.raises(IndexError):
        gather(model, broken)
    with pytest.raises(IndexError):
        BlockStream(model, blocks_of(model), broken, 4)
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert not any("forward" in vars(module) for module in model.modules())


def test_looking_at_a_block_computes_nothing_behind_what_is_looked_at(name):
    model, ran = random_model(name), []
    flow = BlockStream(model, blocks_of(model), random_calibration(), 4)
    path = blocks_of(model)[0].stack.path("down")
    down = flow.blocks[0].module.get_submodule(path)
    down.weight.data.fill_(float("nan"))
    down.register_forward_hook(lambda _, __, output: ran.append(bool(output.isfinite().all())))
    flow.measure(0, keep_mlp_tokens=False)
    assert all(ran)
    flow.advance(0)
    assert not all(ran)


def test_activations_that_are_no_numbers_name_the_layer():
    model = random_model("llama")
    model.model.layers[1].post_attention_layernorm.weight.data.fill_(float("inf"))
    expected = r"input of model\.layers\.1\.mlp\.\w+_proj"
    with pytest.raises(NonFiniteError, match=expected):
        gather(model, random_calibration())
    flow = BlockStream(model, blocks_of(model), random_calibration(), 4)
    flow.advance(0)
    with pytest.raises(NonFiniteError, match=expected):
        flow.measure(1, keep_mlp_tokens=False)


def test_a_weight_that_is_no_number_is_blamed_before_what_it_spoils():
    model = random_model("llama")
    model.model.layers[0].self_attn.k_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(
        NonFiniteError, match=r"holds NaN .* in model\.layers\.0\.self_attn\.k_proj"
    ):
        gather(model, random_calibration())


def test_block_by_block_measures_the_same_as_all_at_once(name):
    model, calibration = random_model(name), random_calibration(5, 13)
    flow = BlockStream(model, blocks_of(model), calibration, batch_size=2)
    found = []
    for index in range(2):
        found.append(flow.measure(index, keep_mlp_tokens=True))
        flow.advance(index)
    assert_same_statistics(found, gather(model, calibration, batch_size=2))


def test_looking_at_a_block_on_the_way_is_looking_and_going_on(name):
    model, calibration = random_model(name), random_calibration(5, 13)
    apart, at_once = (BlockStream(model, blocks_of(model), calibration, 2) for _ in range(2))
    looked = [apart.measure(0, keep_mlp_tokens=True)]
    apart.advance(0)
    assert_same_statistics([at_once.measure(0, keep_mlp_tokens=True, advance=True)], looked)
    for one, other in zip(at_once.hidden, apart.hidden, strict=True):
        assert torch.equal(one, other)


def test_sequential_compression_equals_a_loop_by_hand(name, tiny):
    subject, calibration = tiny(name), random_calibration()
    compressor = compressors.get("asvd-rootcov")
    sequential = configure(compressor.config, {"propagation": "sequential"}, "asvd-rootcov")
    original = replace(sequential, propagation="original")

    def compressed(config):
        return compress_model(
            subject,
            CompressionJob("asvd-rootcov", compressor, config, 0.5, calibration, batch_size=4),
        )

    by_hand, family = share_copy(subject.model), subject.family.language
    for index, block in enumerate(family.block_list(by_hand)):
        weights = family.weights(by_hand, block)
        seen = statistics_by_hand(by_hand, index, calibration)
        for role, factor in compressor.compress(weights, seen, 0.5, sequential).items():
            block.set_submodule(family.layers[role], factor)

    ids = calibration.input_ids
    expected = by_hand(ids).logits
    torch.testing.assert_close(compressed(sequential).model(ids).logits, expected)
    assert not torch.allclose(compressed(original).model(ids).logits, expected, rtol=1e-3)


def statistics_by_hand(model, index, calibration):
    """Statistics of one block of a model whose earlier blocks may be compressed."""
    family = family_of(model.config).language
    moments = {}
    for role, path in family.layers.items():
        x = stored_inputs(model, f"{family.blocks}.{index}.{path}", calibration.input_ids)
        moments[SITE_OF_ROLE[role]] = Moments(len(x), x.T @ x / len(x), x.mean(0), x.abs().mean(0))
    return BlockStatistics(moments)
