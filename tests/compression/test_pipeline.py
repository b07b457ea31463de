"""Compressed models of every family: exact at ratio 0, honest in what they count and share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import nn

import harness
from harness.algebra.ranks import Junction
from harness.assets.kinds import TextAsset
from harness.calibration.text import draw_text as draw
from harness.calibration.undrawn import Undrawn
from harness.compression.compressor import compressors
from harness.compression.job import CompressionJob
from harness.compression.pipeline import compress_model
from harness.errors import NonFiniteError, UsageError
from harness.layers.factors import CompressedLinear
from harness.layers.pruned import KeptColumns, KeptRows
from harness.layers.roles import SITE_OF_ROLE
from harness.plugins.options import configure
from harness.records.spec import CalibrationSpec
from tests.helpers.tiny_models import MODELS, random_calibration, statistics_of, stored_inputs

JUNCTIONS = get_args(Junction)
PAIRS = [pairs for n in range(4) for pairs in itertools.combinations(("qk", "vo", "ud"), n)]
METHODS = compressors.names()
CALIBRATION = random_calibration()
NEARLY_0 = 1e-300
"""A ratio at which every rank is full, and yet all factors are computed; at 0 none are."""
TRIALS = [("svd", {}), ("latentllm", {}), ("asvd-rootcov", {"bias_update": "always"})]


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


def small(subject, method, ratio=0.4, *, statistics=None, propagation="original", **options):
    compressor = compressors.get(method)
    config = configure(compressor.config, options | {"propagation": propagation}, method)
    given = None if statistics is None else list(statistics)
    return compress_model(
        subject,
        CompressionJob(method, compressor, config, ratio, CALIBRATION, batch_size=4),
        statistics=given,
    )


@torch.no_grad()
def logits(subject):
    return subject.model(CALIBRATION.input_ids).logits


def deviation(found, expected):
    """Relative; NaN where either is not finite."""
    return ((found - expected).norm() / expected.norm()).item()


def factors(subject) -> Iterator[tuple[str, CompressedLinear]]:
    return ((n, m) for n, m in subject.model.named_modules() if isinstance(m, CompressedLinear))


@pytest.mark.parametrize("junction", JUNCTIONS)
def test_nothing_removed_changes_nothing(name, junction, tiny):
    subject = tiny(name)
    expected = logits(subject)
    variants = [(method, {}) for method in METHODS if method != "latentllm"]
    variants += [("latentllm", {"joint": pairs}) for pairs in PAIRS]
    for method, options in variants:
        gradients = compressors.get(method).config().reads_gradients
        seen = statistics_of(name, gradients=gradients)
        same = small(subject, method, NEARLY_0, statistics=seen, junction=junction, **options)
        assert deviation(logits(same), expected) < 1e-9, (method, options)
        # Identity blocks in heads save parameters even at full rank.
        assert same.compression.ratio_layers >= 0


@pytest.mark.parametrize("method", METHODS)
def test_nothing_removed_block_by_block_changes_nothing(name, method, tiny):
    subject = tiny(name)
    same = small(subject, method, NEARLY_0, propagation="sequential", junction="block-identity")
    assert deviation(logits(same), logits(subject)) < 1e-9


@pytest.mark.parametrize("bias_update", ["always", "never"])
def test_nothing_removed_changes_nothing_whatever_becomes_of_biases(name, bias_update, tiny):
    subject = tiny(name)
    for method in ("asvd-rootcov", "latentllm"):
        same = small(subject, method, NEARLY_0, junction="block-identity", bias_update=bias_update)
        assert deviation(logits(same), logits(subject)) < 1e-9


class Unreadable(Undrawn):
    """A calibration that nobody may read."""

    def batches(self, *_):
        raise AssertionError

    graded = batches


def without_data(subject, method, ratio, **options):
    compressor = compressors.get(method)
    config = configure(compressor.config, options, method)
    calibration = Unreadable(CALIBRATION.facts)
    return compress_model(subject, CompressionJob(method, compressor, config, ratio, calibration))


@pytest.mark.parametrize("method", METHODS)
def test_at_ratio_0_nothing_is_read_and_nothing_changes(name, method, tiny):
    subject = tiny(name)
    same = without_data(subject, method, 0.0)
    assert torch.equal(logits(same), logits(subject))
    facts = same.compression
    assert (facts.calibrated, facts.ratio_layers, facts.ratio_model) == (False, 0, 0)
    assert {layer.form for layer in facts.layers} == {"dense"}


@pytest.mark.parametrize("junction", JUNCTIONS)
def test_svd_without_biases_reads_no_data_and_gives_what_it_gave(name, junction, tiny):
    subject = tiny(name)
    options = {"junction": junction, "bias_update": "never"}
    blind = without_data(subject, "svd", 0.4, **options)
    assert not blind.compression.calibrated
    assert {layer.relative_loss for layer in blind.compression.layers} == {None}
    # The same factors as from a method that is handed moments and reads none of them.
    seeing = replace(compressors.get("svd"), blind=False)
    config = configure(seeing.config, options, "svd")
    read = compress_model(subject, CompressionJob("svd", seeing, config, 0.4, CALIBRATION))
    assert read.compression.calibrated
    for (place, ours), (_, theirs) in zip(factors(blind), factors(read), strict=True):
        for key, tensor in ours.state_dict().items():
            assert torch.equal(tensor, theirs.state_dict()[key]), (place, key)


def test_svd_that_mends_biases_reads_data(tiny):
    assert small(tiny("opt"), "svd").compression.calibrated
    assert small(tiny("llama"), "svd", bias_update="always").compression.calibrated


@pytest.mark.parametrize(("method", "options"), TRIALS)
def test_the_original_is_untouched_and_shares_what_is_not_compressed(name, method, options, tiny):
    subject = tiny(name)
    before = {key: tensor.clone() for key, tensor in subject.model.state_dict().items()}
    structure = str(subject.model)
    compressed = small(subject, method, **options)
    after = subject.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert str(subject.model) == structure
    assert subject.compression is None

    places = tuple(path for path, _ in factors(compressed))
    for key, tensor in compressed.model.state_dict().items():
        if not key.startswith(places):
            assert tensor.data_ptr() == after[key].data_ptr(), key


def test_given_statistics_are_used_up_block_by_block(tiny):
    subject, left = tiny("llama"), []
    given = list(statistics_of("llama"))

    class Watching(type(compressors.get("svd"))):
        def compress(self, *arguments):
            left.append(len(given))
            return super().compress(*arguments)

    plugin = compressors.get("svd")
    config = configure(plugin.config, {"propagation": "original"}, "svd")
    watching = Watching(plugin.summary, plugin.config, plugin.precondition)
    compress_model(
        subject, CompressionJob("svd", watching, config, 0.3, CALIBRATION), statistics=given
    )
    assert left == [1, 0]


def test_two_compressions_of_one_model_do_not_meet(tiny):
    subject = tiny("opt")
    first = small(subject, "svd", 0.2)
    expected = logits(first)
    small(subject, "latentllm", 0.6)
    assert torch.equal(logits(first), expected)


@pytest.mark.parametrize("name", ["opt", "llama"])
def test_tied_embeddings_stay_tied(name, tiny):
    compressed = small(tiny(name), "latentllm").model
    embedding, head = compressed.get_input_embeddings().weight, compressed.lm_head.weight
    assert embedding.data_ptr() == head.data_ptr()
    assert embedding is head


@pytest.mark.parametrize(("method", "options"), [("svd", {}), ("latentllm", {"joint": ()})])
def test_biases_survive_where_nothing_updates_them(name, method, options, tiny):
    subject = tiny(name)
    compressed = small(subject, method, bias_update="never", **options)
    for path, factor in factors(compressed):
        bias = subject.model.get_submodule(path).bias
        assert (factor.bias is None) == (bias is None)
        assert bias is None or torch.equal(factor.bias, bias)


def test_norms_survive(name, tiny):
    subject = tiny(name)
    after = dict(small(subject, "latentllm").model.named_parameters())
    norms = [n for n, _ in subject.model.named_parameters() if "norm" in n]
    assert norms
    for path in norms:
        assert torch.equal(after[path], subject.model.get_parameter(path))


def test_an_updated_bias_keeps_the_mean_output(name, tiny):
    subject = tiny(name)
    statistics = statistics_of(name)
    compressed = small(subject, "svd", statistics=statistics, bias_update="always")
    blocks = zip(
        subject.family.language.block_list(subject.model),
        subject.family.language.block_list(compressed.model),
        statistics,
        strict=True,
    )
    for block, compact, seen in blocks:
        for role, path in subject.family.language.layers.items():
            layer, factor = block.get_submodule(path), compact.get_submodule(path)
            mean = seen.moments[SITE_OF_ROLE[role]].mean
            expected, found = layer(mean), factor(mean)
            torch.testing.assert_close(found, expected.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("junction", ["left", "block-identity", "block-identity-output"])
@pytest.mark.parametrize("method", ["asvd-l2", "latentllm"])
def test_sizes_are_counted_from_the_models_own_tensors(name, method, junction, tiny):
    subject = tiny(name)
    compressed = small(subject, method, 0.3, junction=junction)
    facts = compressed.compression
    # Tied weights are one tensor; safetensors and state_dict would list them twice.
    parameters = {id(p): p for p in compressed.model.parameters()}.values()
    stored = {id(t): t for t in compressed.model.state_dict(keep_vars=True).values()}.values()
    dense = sum(p.numel() for p in subject.model.parameters())
    assert facts.parameters == sum(p.numel() for p in parameters)
    assert facts.bytes == sum(t.numel() * t.element_size() for t in stored)
    assert facts.ratio_model == 1 - facts.parameters / dense

    layers = {layer.name: layer for layer in facts.layers}
    assert layers.keys() == {path for path, _ in factors(compressed)}
    before = after = 0
    for path, factor in factors(compressed):
        weight = subject.model.get_submodule(path).weight
        weights = sum(p.numel() for key, p in factor.named_parameters() if key != "bias")
        assert layers[path].shape == tuple(weight.shape) == tuple(factor.dense().shape)
        assert layers[path].parameters == weights <= 0.7 * weight.numel()
        assert layers[path].rank == factor.rank
        before += weight.numel()
        after += weights
    assert facts.ratio_layers == pytest.approx(1 - after / before, abs=1e-15)
    assert facts.ratio_layers >= facts.ratio_requested == 0.3


@pytest.mark.parametrize("junction", JUNCTIONS)
@pytest.mark.parametrize("method", ["svd", "latentllm"])
def test_factors_run_as_their_dense_equivalents(name, method, junction, tiny):
    compressed = small(tiny(name), method, junction=junction)
    found = logits(compressed)
    for path, factor in list(factors(compressed)):
        d_out, d_in = factor.dense().shape
        linear = nn.Linear(d_in, d_out, bias=factor.bias is not None, dtype=torch.float64)
        linear.weight.data = factor.dense()
        linear.bias = factor.bias
        compressed.model.set_submodule(path, linear)
    assert deviation(found, logits(compressed)) < 1e-9


@pytest.mark.parametrize("method", METHODS)
def test_recorded_losses_are_those_of_the_layers(method, tiny):
    subject = tiny("opt")
    # Identity blocks in heads make value and output meet in another basis; not these.
    compressed = small(subject, method, statistics=statistics_of("opt"), junction="left")
    for facts in compressed.compression.layers:
        x = stored_inputs(subject.model, facts.name, CALIBRATION.input_ids)
        layer = subject.model.get_submodule(facts.name)
        factor = compressed.model.get_submodule(facts.name)
        if isinstance(factor, KeptRows):
            assert facts.relative_loss == 0
            continue
        given = x[..., factor.kept.long()] if isinstance(factor, KeptColumns) else x
        error = layer(x) - factor(given)
        expected = error.square().sum() / (x @ layer.weight.T).square().sum()
        assert facts.relative_loss == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_compressed_model_generates_with_finite_weights(name, dtype, tiny):
    compressed = small(tiny(name, dtype), "latentllm")
    for key, tensor in compressed.model.state_dict().items():
        assert torch.isfinite(tensor).all(), key
        assert tensor.dtype in (dtype, torch.int32)
    prompt = CALIBRATION.input_ids[:2, :5]
    out = compressed.model.generate(prompt, max_new_tokens=6, min_new_tokens=6, do_sample=False)
    assert out.shape == (2, 11)
    assert torch.equal(out[:, :5], prompt)


def test_generation_with_a_cache_equals_generation_without(name, tiny):
    model = small(tiny(name), "latentllm").model
    prompt = CALIBRATION.input_ids[:2, :5]
    options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}
    assert torch.equal(
        model.generate(prompt, use_cache=True, **options),
        model.generate(prompt, use_cache=False, **options),
    )


def test_compression_is_deterministic(name, tiny):
    subject = tiny(name, torch.float32)
    first, second = small(subject, "latentllm"), small(subject, "latentllm")
    assert first.compression == second.compression
    other = second.model.state_dict()
    assert all(torch.equal(t, other[key]) for key, t in first.model.state_dict().items())


def test_more_removed_means_more_lost(name, tiny):
    subject = tiny(name)
    statistics = statistics_of(name)
    losses = [
        sum(
            layer.relative_loss
            for layer in small(
                subject, "asvd-rootcov", ratio, statistics=statistics
            ).compression.layers
        )
        for ratio in (0.2, 0.4, 0.6, 0.8)
    ]
    assert losses == sorted(losses)


@pytest.mark.parametrize("ratio", [1.0, 1.5, -0.1, float("nan")])
def test_a_ratio_outside_its_range_is_refused(ratio, tiny):
    with pytest.raises(UsageError, match=r"outside 0 <= ratio < 1"):
        small(tiny("opt"), "svd", ratio)


@pytest.mark.parametrize("method", METHODS)
def test_a_ratio_that_leaves_no_rank_names_block_and_shape(method, tiny):
    options = {"ranks": "uniform"} if method == "twinroot" else {}
    with pytest.raises(UsageError) as caught:
        small(tiny("llama"), method, 0.99, **options)
    message = str(caught.value)
    assert message.startswith("model.layers.0: ratio 0.99 leaves no rank for a layer of shape")
    assert "use a smaller --ratio" in message


@pytest.mark.parametrize("propagation", ["original", "sequential"])
@pytest.mark.parametrize("method", METHODS)
def test_a_broken_weight_names_its_layer(method, propagation, tiny):
    subject = tiny("opt")
    subject.model.model.decoder.layers[1].fc2.weight.data[3, 4] = float("nan")
    with pytest.raises(NonFiniteError, match=r"holds NaN .*, in model\.decoder\.layers\.1\.fc2"):
        small(subject, method, propagation=propagation)


@pytest.mark.parametrize("propagation", ["original", "sequential"])
def test_a_compressed_model_is_not_compressed_again(propagation, tiny):
    once = small(tiny("llama"), "svd")
    with pytest.raises(UsageError, match="compress the original model"):
        small(once, "svd", propagation=propagation)


@pytest.mark.parametrize("junction", ["left", "block-identity", "block-identity-output"])
@pytest.mark.parametrize("method", METHODS)
def test_a_layer_of_zeros_is_compressed_to_zeros(method, junction, tiny):
    subject, path = tiny("llama"), "model.layers.0.mlp.down_proj"
    subject.model.get_parameter(f"{path}.weight").data.zero_()
    options = {"compensation": False} if method == "twinroot" else {}
    compressed = small(subject, method, junction=junction, **options)
    assert compressed.model.get_submodule(path).dense().norm() == 0
    (lost,) = (f.relative_loss for f in compressed.compression.layers if f.name == path)
    assert lost == (None if method == "svd" else 0)


def asset(*documents):
    return TextAsset("mine", documents, "f" * 64)


def spec(**changes):
    return CalibrationSpec(**{"text": "mine", "samples": 4, "length": 16} | changes)


@pytest.mark.parametrize("sampling", ["windows", "documents"])
def test_a_short_calibration_says_what_to_change(sampling, tokenizer):
    with pytest.raises(UsageError, match=r"--calibration.*--length"):
        draw(asset("the cat sat"), tokenizer, spec(sampling=sampling))


@pytest.mark.parametrize("sampling", ["windows", "documents"])
def test_the_same_seed_draws_the_same_sequences(sampling, tokenizer, texts):
    documents = [(texts / f"{one}.txt").read_text() for one in ("calibration", "other")]

    def ids(seed):
        return draw(asset(*documents), tokenizer, spec(sampling=sampling, seed=seed))

    assert torch.equal(ids(1).input_ids, ids(1).input_ids)
    assert not torch.equal(ids(1).input_ids, ids(2).input_ids)
    assert ids(1).input_ids.shape == (4, 16)
    assert ids(1).attention_mask.all()
    assert ids(1).facts.tokens == 64


def test_windows_are_disjoint_pieces_of_the_text(tokenizer, texts):
    text = (texts / "calibration.txt").read_text()
    whole = tokenizer(text).input_ids
    available = len(whole) // 16
    drawn = draw(asset(text), tokenizer, spec(samples=available)).input_ids
    assert drawn.flatten().tolist() == whole[: available * 16]


def test_from_python_in_four_lines(model_folder, texts):
    dense = harness.load_model(str(model_folder("opt")))
    calibration = CalibrationSpec(text=str(texts / "calibration.txt"), samples=4, length=16)
    compact = harness.compress(
        dense, "latentllm", ratio=0.3, calibration=calibration, joint=["qk"], iterations=1
    )
    result = harness.evaluate(compact, "wikitext2", data=str(texts / "evaluation.txt"), window=32)
    assert compact.compression.label == "latentllm[joint=qk, iterations=1]"
    assert result.metrics[0].name == "perplexity_token@32"


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("asvd", {}, "did you mean svd or asvd-l2"),
        ("svd", {"damping": 0.1}, "unknown option of svd 'damping'"),
        ("svd", {"junction": "middle"}, "option 'junction' of svd"),
    ],
)
def test_from_python_wrong_names_are_refused(method, options, message, tiny):
    with pytest.raises(UsageError, match=message):
        harness.compress(tiny("opt"), method, 0.3, **options)
