"""Our own method on single blocks and on whole models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

import harness
from compressors import asvd_rootcov, twinroot
from harness.algebra.drift import Drift, Half
from harness.algebra.neurons import Neurons
from harness.compression.compressor import Ranking, compressors
from harness.compression.job import CompressionJob
from harness.compression.local import LocalConfig
from harness.compression.pipeline import compress_model
from harness.errors import NonFiniteError, UsageError
from harness.layers.factors import DenseLinear
from harness.layers.roles import SITE_OF_ROLE
from harness.layers.shapes import shape_of
from harness.plugins.options import configure
from harness.statistics.block_statistics import BackwardStatistics
from harness.statistics.moments import Moments
from tests.helpers.blocks import SHAPES, sample
from tests.helpers.tiny_models import MODELS, random_calibration

LOCAL = ["svd", "asvd-hessian", "asvd-l1", "asvd-l2", "asvd-cov", "asvd-rootcov"]


def with_gradients(subject, seed=0, spread=1.0, confirmed=1.0):
    """Random gradient moments for the layers of a block."""
    generator = torch.Generator().manual_seed(seed)
    gradients = {}
    for role, layer in subject.block.layers.items():
        size = len(layer.weight)
        mix = torch.randn(size, 2 * size, dtype=torch.float64, generator=generator)
        G = spread * mix @ mix.T + (1 - spread) * torch.eye(size, dtype=torch.float64)
        gradients[role] = Moments(100, G, G[0], G[0])
    names = {*subject.block.layers, *SITE_OF_ROLE.values()}
    W = subject.block.layers["down"].weight.double()
    neurons = subject.statistics.moments["mlp_inner"].second.diagonal()
    backward = BackwardStatistics(
        gradients=gradients,
        confirmed=dict.fromkeys(names, confirmed),
        influence=neurons * (W * (gradients["down"].second @ W)).sum(0),
    )
    return replace(subject.statistics, backward=backward)


def losses_by_rank(plugin, block, statistics, config):
    """Of each layer, from the curves that a method makes for single ones."""
    found = {}
    for one in plugin.rank_curves(block, statistics, config):
        for ranks, lost in zip(one.ranks, one.losses, strict=True):
            ((role, rank),) = ranks.items()
            found.setdefault(role, {})[rank] = lost
    return found


def config_of(method, **options):
    return configure(compressors.get(method).config, options, method)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("policy", ["auto", "always", "never"])
def test_with_gradients_alike_in_all_directions_it_is_root_covariance(name, policy):
    subject = sample(name)
    statistics = with_gradients(subject, spread=0.0)
    options = {"junction": "block-identity", "bias_update": policy}
    found = twinroot.plugin.compress(
        subject.block, statistics, 0.5, config_of("twinroot", neurons=False, **options)
    )
    expected = asvd_rootcov.plugin.compress(
        subject.block, statistics, 0.5, config_of("asvd-rootcov", **options)
    )
    for role, factor in found.items():
        torch.testing.assert_close(factor.dense(), expected[role].dense())
        if factor.bias is not None:
            torch.testing.assert_close(factor.bias, expected[role].bias)


@pytest.mark.parametrize("name", SHAPES)
def test_its_losses_are_those_of_its_factors(name):
    subject = sample(name)
    statistics = with_gradients(subject)
    config = config_of("twinroot", gradient_damping=0.0, damping=0.0, neurons=False)
    losses = losses_by_rank(twinroot.plugin, subject.block, statistics, config)
    ranks = {role: 1 + max(lost) // 3 for role, lost in losses.items()}
    factors = twinroot.plugin.compress_to(subject.block, statistics, ranks, config)
    for role, factor in factors.items():
        layer = subject.block.layers[role]
        moments = statistics.moments[SITE_OF_ROLE[role]]
        C = moments.second if layer.bias is None else moments.covariance()
        E = layer.weight.double() - factor.dense()
        expected = 100 * torch.einsum(
            "oi,op,pj,ij->", E, statistics.backward.gradients[role].second, E, C
        )
        assert float(losses[role][ranks[role]]) == pytest.approx(float(expected), rel=1e-6)
        assert factor.rank == ranks[role]


def test_unconfirmed_correlations_are_not_believed():
    subject = sample("llama")
    by_rule = with_gradients(subject, confirmed=0.25)
    config = config_of("twinroot", shrinkage=0.75, gradient_shrinkage=0.75)
    expected = twinroot.plugin.compress(subject.block, with_gradients(subject), 0.5, config)
    found = twinroot.plugin.compress(subject.block, by_rule, 0.5, config_of("twinroot"))
    believing = twinroot.plugin.compress(
        subject.block, with_gradients(subject), 0.5, config_of("twinroot")
    )
    for role, factor in found.items():
        torch.testing.assert_close(factor.dense(), expected[role].dense())
        assert not torch.allclose(factor.dense(), believing[role].dense(), rtol=1e-3)


@pytest.mark.parametrize("method", [*LOCAL, "twinroot"])
def test_the_unit_of_the_gradients_changes_neither_ranks_nor_factors(method, tiny):
    subject = sample("qwen2")
    statistics = with_gradients(subject)
    louder = {
        role: replace(moments, second=1e6 * moments.second)
        for role, moments in statistics.backward.gradients.items()
    }
    scaled = replace(statistics, backward=replace(statistics.backward, gradients=louder))
    plugin, config = compressors.get(method), config_of(method, ranks="fisher")
    assert isinstance(plugin, Ranking)
    before, after = (plugin.rank_curves(subject.block, one, config) for one in (statistics, scaled))
    ranks = dict.fromkeys(subject.block.layers, 3)
    for one, other in zip(before, after, strict=True):
        assert one.ranks == other.ranks
        assert other.losses == pytest.approx([1e6 * lost for lost in one.losses], rel=1e-6)
    one, other = (
        plugin.compress_to(subject.block, seen, ranks, config) for seen in (statistics, scaled)
    )
    for role, factor in one.items():
        torch.testing.assert_close(factor.dense(), other[role].dense(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", LOCAL)
def test_local_losses_are_output_errors_weighed_by_gradients(method):
    subject = sample("llama")
    statistics = with_gradients(subject)
    plugin, config = compressors.get(method), config_of(method, ranks="fisher")
    losses = losses_by_rank(plugin, subject.block, statistics, config)
    for rank in (1, 4):
        ranks = dict.fromkeys(losses, rank)
        for role, factor in plugin.compress_to(subject.block, statistics, ranks, config).items():
            E = subject.block.layers[role].weight.double() - factor.dense()
            error = ((E @ statistics.moments[SITE_OF_ROLE[role]].second) * E).sum()
            gradients = statistics.backward.gradients[role].second.diagonal().mean()
            assert float(losses[role][rank]) == pytest.approx(100 * float(gradients * error))


def test_full_rank_is_the_layer_itself():
    subject = sample("opt")
    ranks = {role: min(layer.weight.shape) for role, layer in subject.block.layers.items()}
    for method in ("asvd-rootcov", "twinroot"):
        factors = compressors.get(method).compress_to(
            subject.block, with_gradients(subject), ranks, config_of(method)
        )
        for role, factor in factors.items():
            assert isinstance(factor, DenseLinear)
            assert torch.equal(factor.dense(), subject.block.layers[role].weight.double())


def small(subject, method, ratio, **options):
    config = config_of(method, **options)
    return compress_model(
        subject,
        CompressionJob(
            method, compressors.get(method), config, ratio, random_calibration(), batch_size=4
        ),
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("propagation", ["original", "sequential"])
@pytest.mark.parametrize("method", ["asvd-rootcov", "twinroot"])
def test_one_budget_for_all_layers_is_met_to_the_last_rank(name, propagation, method, tiny):
    subject = tiny(name)
    compressed = small(subject, method, 0.4, ranks="fisher", propagation=propagation)
    facts = compressed.compression
    assert 0.4 <= facts.ratio_layers < 0.42
    shares = {layer.parameters / (layer.shape[0] * layer.shape[1]) for layer in facts.layers}
    assert max(shares) > 1.2 * min(shares)
    stored = sum(
        p.numel()
        for n, p in compressed.model.named_parameters()
        if any(n.startswith(f"{layer.name}.") for layer in facts.layers) and "bias" not in n
    )
    assert stored == sum(layer.parameters for layer in facts.layers)
    again = small(subject, method, 0.4, ranks="fisher", propagation=propagation)
    assert again.compression == facts
    ids = random_calibration().input_ids
    assert torch.equal(again.model(ids).logits, compressed.model(ids).logits)


def test_uniform_ranks_are_those_of_every_other_method(tiny):
    subject = tiny("llama")
    own = small(subject, "twinroot", 0.4, ranks="uniform", neurons=False)
    other = small(subject, "asvd-rootcov", 0.4, junction="block-identity")
    for a, b in zip(own.compression.layers, other.compression.layers, strict=True):
        assert (a.name, a.rank, a.parameters) == (b.name, b.rank, b.parameters)


def test_what_it_lost_is_what_it_estimated(tiny):
    """Where little is removed, ranks by Fisher cost less than uniform ones."""
    subject = tiny("llama", torch.float64)
    ids = random_calibration(64, 32).input_ids

    def divergence(**options):
        small_model = small(subject, "twinroot", 0.2, **options).model
        with torch.no_grad():
            p, q = (m(ids).logits.log_softmax(-1) for m in (subject.model, small_model))
        return float((p.exp() * (p - q)).sum(-1).mean())

    assert divergence(ranks="fisher") < divergence(ranks="uniform")


def test_a_budget_for_no_rank_says_what_is_needed(tiny):
    expected = r"do not buy the lowest rank of every layer, \d+ do; use a smaller --ratio"
    for multiple in (1, 8):
        with pytest.raises(UsageError, match=expected):
            small(tiny("llama"), "twinroot", 0.99, multiple=multiple)


@pytest.mark.parametrize("method", ["asvd-rootcov", "twinroot"])
def test_ranks_are_multiples_where_fast_kernels_ask_for_them(method, tiny):
    compressed = small(tiny("llama"), method, 0.4, ranks="fisher", multiple=8).compression
    assert compressed.ratio_layers >= 0.4
    dense = [layer for layer in compressed.layers if layer.form == "dense"]
    assert all(layer.rank % 8 == 0 for layer in compressed.layers if layer not in dense)
    assert all(layer.rank == min(layer.shape) for layer in dense)
    one_by_one = small(tiny("llama"), method, 0.4, ranks="fisher").compression
    assert any(layer.rank % 8 for layer in one_by_one.layers)


@pytest.mark.parametrize("method", [*LOCAL, "twinroot"])
def test_multiples_of_uniform_ranks_are_refused(method):
    with pytest.raises(UsageError, match=r"not multiples of 8; pass --ranks fisher, or leave out"):
        config_of(method, ranks="uniform", multiple=8)
    with pytest.raises(UsageError, match="no rank is a multiple of 0; pass --multiple 1 or more"):
        config_of(method, ranks="fisher", multiple=0)
    assert config_of(method, ranks="fisher", multiple="16").multiple == 16


def test_a_zero_layer_gets_the_least_and_stays_zero(tiny):
    subject = tiny("llama")
    subject.model.model.layers[0].mlp.down_proj.weight.data.zero_()
    compressed = small(subject, "twinroot", 0.3)
    facts = {layer.name: layer for layer in compressed.compression.layers}
    assert facts["model.layers.0.mlp.down_proj"].rank == 1
    # Nothing that the loss sees comes out of these, whatever they are.
    assert facts["model.layers.0.mlp.up_proj"].rank == 1
    assert facts["model.layers.0.mlp.gate_proj"].rank == 1
    assert float(compressed.model.model.layers[0].mlp.down_proj.dense().abs().max()) < 1e-12


def test_moments_that_are_no_numbers_are_refused():
    subject = sample("llama")
    statistics = with_gradients(subject)
    statistics.backward.gradients["up"].second[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        twinroot.plugin.rank_curves(subject.block, statistics, config_of("twinroot"))


def test_its_options_are_checked():
    assert config_of("twinroot", shrinkage="0.25").shrinkage == 0.25
    assert issubclass(twinroot.Config, LocalConfig)
    with pytest.raises(UsageError, match="option 'shrinkage' of twinroot"):
        config_of("twinroot", shrinkage="most")


def test_from_python_in_one_line(tiny, texts):
    calibration = harness.CalibrationSpec(text=str(texts / "calibration.txt"), samples=3, length=16)
    small_model = harness.compress(
        tiny("qwen3"), "asvd-rootcov", 0.3, calibration=calibration, ranks="fisher"
    )
    assert small_model.compression.label == "asvd-rootcov[ranks=fisher]"


def stream_error(subject, small, calibration):
    """Of the last hidden state over the calibration, relative."""
    with torch.no_grad():
        expected, found = (
            one.model.base_model(input_ids=calibration.input_ids).last_hidden_state
            for one in (subject, small)
        )
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", MODELS)
def test_compensation_brings_the_stream_back(name, tiny):
    """On average over calibrations: a single one may lose by what its drift happens to be."""
    subject = tiny(name)
    errors = {True: 0.0, False: 0.0}
    for seed in range(3):
        calibration = random_calibration(samples=24, seed=seed)
        ranks = []
        for compensation in errors:
            config = config_of("twinroot", compensation=compensation)
            small_model = compress_model(
                subject, CompressionJob("twinroot", twinroot.plugin, config, 0.3, calibration)
            )
            errors[compensation] += stream_error(subject, small_model, calibration)
            ranks.append([layer.rank for layer in small_model.compression.layers])
        assert ranks[0] == ranks[1]
    assert errors[True] < errors[False]


def test_without_drift_compensation_is_the_two_sided_fit(tiny):
    sample_ = sample("opt")
    statistics = with_gradients(sample_)
    layer = sample_.block.layers["down"]
    moments = statistics.moments[SITE_OF_ROLE["down"]]
    W = layer.weight.double()
    nothing = torch.zeros(W.shape[0], dtype=torch.float64)
    half = Half(1.0, moments.second, torch.zeros_like(W), moments.mean, nothing)
    config = config_of("twinroot", junction="left", shrinkage=0.0)
    expected = twinroot.plugin.compress_to(
        sample_.block, statistics, dict.fromkeys(sample_.block.layers, 5), config
    )["down"]
    found = twinroot.plugin.compensate(
        "down", sample_.block, statistics, Drift([half, half]), 5, config
    )["down"]
    torch.testing.assert_close(found.dense(), expected.dense())
    torch.testing.assert_close(found.bias, expected.bias)
    ranks = dict.fromkeys(sample_.block.layers, Neurons(5))
    expected = twinroot.plugin.compress_to(sample_.block, statistics, ranks, config)
    found = twinroot.plugin.compensate(
        "down", sample_.block, statistics, Drift([half, half]), Neurons(5), config
    )
    assert found.keys() == {"up", "down"}
    for role, factor in found.items():
        torch.testing.assert_close(factor.dense(), expected[role].dense())
        torch.testing.assert_close(factor.dense_bias(), expected[role].dense_bias())


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("policy", ["auto", "always", "never"])
def test_an_mlp_of_fewer_neurons_is_the_dense_one_with_the_others_at_zero(name, policy):
    subject = sample(name)
    config = config_of("twinroot", ranks="uniform", bias_update=policy)
    factors = twinroot.plugin.compress(subject.block, with_gradients(subject), 0.5, config)
    forms = twinroot.plugin.shapes(subject.block, 0.5, config)
    assert {role: shape_of(factor) for role, factor in factors.items()} == forms
    generator = torch.Generator().manual_seed(3)
    size = subject.block.layers["up"].weight.shape[1]
    x = torch.randn(7, size, dtype=torch.float64, generator=generator)

    def mlp(layer):
        inner = layer("up").square() if "gate" not in factors else layer("up") * layer("gate").cos()
        return layer("down", inner)

    def small_layer(role, given=x):
        return factors[role](given)

    def dense_layer(role, given=x):
        return F.linear(given, factors[role].dense(), factors[role].dense_bias())

    torch.testing.assert_close(mlp(small_layer), mlp(dense_layer))


def test_the_neurons_that_are_charged_are_those_that_are_removed():
    subject = sample("llama")
    statistics = with_gradients(subject)
    config = config_of("twinroot", gradient_damping=0.0, damping=1e-9)
    *_, mlp = twinroot.plugin.rank_curves(subject.block, statistics, config)
    taken = [
        (ranks, lost)
        for ranks, lost in zip(mlp.ranks, mlp.losses, strict=True)
        if isinstance(ranks["down"], Neurons)
    ]
    assert taken
    for ranks, lost in taken:
        down = twinroot.plugin.compress_to(
            subject.block, statistics, dict.fromkeys(subject.block.layers, 2) | ranks, config
        )["down"]
        E = subject.block.layers["down"].weight.double() - down.dense()
        G, C = statistics.backward.gradients["down"].second, statistics.moments["mlp_inner"].second
        expected = 100 * torch.einsum("oi,op,pj,ij->", E, G, E, C)
        assert lost == pytest.approx(float(expected), rel=1e-4)


def test_a_neuron_that_matters_more_than_moments_say_stays():
    subject = sample("llama")
    statistics = with_gradients(subject)
    ranks = dict.fromkeys(subject.block.layers, Neurons(5))

    def kept(seen):
        found = twinroot.plugin.compress_to(subject.block, seen, ranks, config_of("twinroot"))
        return set(found["down"].kept.tolist())

    before = kept(statistics)
    gone = min(set(range(len(statistics.backward.influence))) - before)
    more, less = statistics.backward.influence.clone(), statistics.backward.influence.clone()
    more[gone] *= 1e6
    less[list(before)] *= 1e-6
    assert gone in kept(replace(statistics, backward=replace(statistics.backward, influence=more)))
    # What matters less to small changes may be decisive to large ones.
    assert (
        kept(replace(statistics, backward=replace(statistics.backward, influence=less))) == before
    )


def test_too_few_neurons_are_none():
    subject = sample("llama")
    inner = subject.block.layers["down"].weight.shape[1]
    with pytest.raises(UsageError):
        twinroot.plugin.uniform_ranks(subject.block, 0.5 / inner, config_of("twinroot"))


@pytest.mark.parametrize("name", ["opt", "llama", "qwen3"])
@pytest.mark.parametrize("ranks", ["fisher", "uniform"])
def test_neurons_only_leaves_attention_as_it_is(name, ranks, tiny):
    subject = tiny(name)
    compressed = small(subject, "twinroot", 0.2, neurons="only", ranks=ranks, multiple=4)
    facts = compressed.compression
    assert 0.2 - 1e-9 <= facts.ratio_layers < 0.32
    widths = []
    for layer in facts.layers:
        if "attn" in layer.name:
            assert layer.form == "dense"
            after, before = (
                one.model.get_submodule(layer.name).weight for one in (compressed, subject)
            )
            assert torch.equal(after, before)
        elif layer.form != "dense":
            assert layer.form in {"kept-rows", "kept-columns"}
            widths.append(layer.rank)
    assert all(width % 4 == 0 for width in widths)
    assert ranks == "fisher" or (len(set(widths)) == 1 and len(widths) == (len(facts.layers) - 8))


def test_neurons_only_spends_one_budget_where_it_saves_most(tiny):
    subject = tiny("llama")
    statistics = [with_gradients(sample("llama"), seed=seed) for seed in (0, 1)]
    block = sample("llama").block
    *others, mlp = twinroot.plugin.rank_curves(block, statistics[0], config_of("twinroot"))
    *fixed, only = twinroot.plugin.rank_curves(
        block, statistics[0], config_of("twinroot", neurons="only")
    )
    assert all(len(curve.ranks) == 1 for curve in fixed)
    assert [curve.parameters for curve in fixed] == [curve.parameters[-1:] for curve in others]
    assert all(isinstance(ranks["down"], Neurons) for ranks in only.ranks[:-1])
    assert (only.parameters[-1], only.losses[-1]) == (mlp.parameters[-1], mlp.losses[-1])
    facts = small(subject, "twinroot", 0.2, neurons="only").compression
    assert 0.2 - 1e-9 <= facts.ratio_layers < 0.21


def test_one_width_is_what_the_block_can_pay(tiny):
    subject = sample("llama")
    sizes = {role: layer.weight.numel() for role, layer in subject.block.layers.items()}
    inner = subject.block.layers["down"].weight.shape[1]
    config = config_of("twinroot", neurons="only", ranks="uniform")
    for keep in (0.95, 0.8, 0.6):
        ranks = twinroot.plugin.uniform_ranks(subject.block, keep, config)
        count = ranks["down"]

        def share(kept, ranks=ranks):
            stored = sum(
                size * kept / inner if isinstance(ranks[role], Neurons) else size
                for role, size in sizes.items()
            )
            return stored / sum(sizes.values())

        assert share(count) <= keep < share(count + 1)
        forms = twinroot.plugin.shapes(subject.block, keep, config)
        found = twinroot.plugin.compress(subject.block, with_gradients(subject), keep, config)
        assert {role: shape_of(factor) for role, factor in found.items()} == forms


@pytest.mark.parametrize(
    ("ranks", "ratio", "multiple", "said"),
    [
        ("uniform", 0.9, 1, "not even one neuron would be left; use a smaller --ratio"),
        ("uniform", 0.2, 64, "not even 64 neurons would be left; use a smaller --ratio or --mult"),
        ("fisher", 0.9, 1, "do not buy the lowest rank of every layer"),
        ("fisher", 0.2, 64, "do not buy the lowest rank of every layer"),
    ],
)
def test_more_than_the_mlps_can_give_is_refused(ranks, ratio, multiple, said, tiny):
    with pytest.raises(UsageError, match=said):
        small(tiny("llama"), "twinroot", ratio, neurons="only", ranks=ranks, multiple=multiple)
