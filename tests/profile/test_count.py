"""What shapes alone say, held against models that were really compressed and really run."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache

from harness.algebra.ranks import Junction, factor_parameters
from harness.compression.compressor import compressors
from harness.compression.job import CompressionJob
from harness.compression.pipeline import compress_model
from harness.errors import UsageError
from harness.layers.factors import CompressedLinear, stored_bytes
from harness.layers.predicted import joined_shape
from harness.layers.shapes import LayerShape
from harness.layers.weights import LinearWeights
from harness.plugins.options import configure
from harness.profile.count import Workload, count
from harness.profile.skeleton import Skeleton, shapes_of, skeleton
from tests.helpers.tiny_models import MODELS, random_calibration, statistics_of
from tests.helpers.tiny_vision_models import tiny_vision_model

CALIBRATION = random_calibration()
WORKLOAD = Workload(batch=3, sequence=16)
CHOICES = [
    *(
        (method, {"ranks": "uniform"} if method == "twinroot" else {})
        for method in compressors.names()
    ),
    *(("svd", {"junction": junction}) for junction in get_args(Junction)),
    *(("latentllm", {"junction": junction}) for junction in get_args(Junction)),
    ("latentllm", {"head_junction": False}),
    ("latentllm", {"joint": ("qk",)}),
    ("latentllm", {"joint": ("vo", "ud")}),
    ("latentllm", {"joint": ()}),
    ("latentllm", {"bias_update": "always"}),
    ("svd", {"bias_update": "always"}),
]


def compressed(subject, name, method, options, ratio):
    """The model as a method really leaves it, and what its shapes said before."""
    compressor = compressors.get(method)
    config = configure(compressor.config, {**options, "propagation": "original"}, method)
    seen = list(statistics_of(name))
    done = compress_model(
        subject, CompressionJob(method, compressor, config, ratio, CALIBRATION), statistics=seen
    )
    bare = skeleton(subject.model.config, "float64")
    return done, bare, shapes_of(bare, method, compressor, config, ratio, "language")


def run(model, batch=WORKLOAD.batch):
    """FLOPs that torch counts, and the cache that is left."""
    ids = torch.arange(2, 2 + batch * WORKLOAD.sequence).reshape(batch, -1)
    cache = DynamicCache(config=model.config)
    model.set_attn_implementation("eager")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(ids, past_key_values=cache)
    return counter.get_total_flops(), cache


@pytest.fixture(params=[name for name in MODELS if name != "qwen2-sliding"])
def name(request):
    return request.param


def test_a_dense_model_runs_what_its_shapes_say(name, tiny):
    model = tiny(name).model
    counted = count(skeleton(model.config, "float64"), {}, WORKLOAD)
    flops, cache = run(model)
    assert counted.parameters == sum(p.numel() for p in model.parameters())
    assert counted.bytes == stored_bytes(model)
    assert counted.flops + counted.attention_flops == flops
    held = [t for layer in cache.layers for t in (layer.keys, layer.values)]
    assert counted.cache_bytes == sum(t.numel() * t.element_size() for t in held)
    assert counted.latent_cache_bytes == counted.cache_bytes


@pytest.mark.parametrize("ratio", [0.0, 0.4])
@pytest.mark.parametrize(
    ("method", "options"), CHOICES, ids=lambda value: str(value).replace(" ", "")
)
def test_a_method_leaves_what_the_shapes_said(name, method, options, ratio, tiny):
    done, bare, shapes = compressed(tiny(name), name, method, options, ratio)
    counted = count(bare, shapes, WORKLOAD)
    assert counted.parameters == done.compression.parameters
    assert counted.bytes == done.compression.bytes
    said = [form for block in shapes.values() for form in block.values()]
    assert [(form.form, form.rank) for form in said] == [
        (layer.form, layer.rank) for layer in done.compression.layers
    ]
    factors = [module for module in done.model.modules() if isinstance(module, CompressedLinear)]
    assert sum(form.bias for form in said) == sum(factor.bias is not None for factor in factors)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("svd", {}),
        ("svd", {"junction": "block-identity"}),
        ("svd", {"junction": "block-identity-output"}),
        ("latentllm", {}),
        ("latentllm", {"head_junction": False}),
    ],
)
def test_a_compressed_model_runs_what_its_shapes_say(name, method, options, tiny):
    done, bare, shapes = compressed(tiny(name), name, method, options, 0.4)
    counted = count(bare, shapes, WORKLOAD)
    flops, _ = run(done.model)
    assert counted.flops + counted.attention_flops == flops


def test_latents_are_the_ranks_of_key_and_value(name, tiny):
    done, bare, shapes = compressed(tiny(name), name, "latentllm", {}, 0.4)
    counted = count(bare, shapes, WORKLOAD)
    rank_of = {layer.name: layer.rank for layer in done.compression.layers}
    ranks = sum(rank for path, rank in rank_of.items() if path.endswith(("k_proj", "v_proj")))
    assert counted.latent_cache_bytes == ranks * WORKLOAD.tokens * torch.float64.itemsize
    assert counted.latent_cache_bytes < counted.cache_bytes


@pytest.mark.parametrize("scope", ["language", "vision", "all"])
@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl"])
def test_a_tower_is_stored_but_not_run(kind, scope, one_thread):
    model = tiny_vision_model(kind).model
    bare = skeleton(model.config, "float64")
    compressor = compressors.get("latentllm")
    shapes = shapes_of(bare, "latentllm", compressor, compressor.config(), 0.4, scope)
    dense, small = (count(bare, forms, WORKLOAD) for forms in ({}, shapes))
    assert dense.parameters == sum(p.numel() for p in model.parameters())
    assert small.parameters < dense.parameters
    assert (small.macs < dense.macs) == (scope != "vision")
    blocks = model.get_decoder().layers.parameters()
    linear = sum(p.numel() for p in blocks if p.dim() == 2) + model.lm_head.weight.numel()
    assert dense.macs == linear * WORKLOAD.tokens


@pytest.mark.parametrize("junction", get_args(Junction))
@pytest.mark.parametrize("shape", [(7, 5), (5, 7), (64, 64)])
def test_a_random_factor_has_the_size_of_its_form(shape, junction):
    layer = LinearWeights(torch.empty(shape, device="meta"), None)
    form = joined_shape(layer, 0.7, junction, bias=True)
    factor = form.random()
    assert factor.form == form.form
    assert factor.rank == form.rank
    assert factor.dense().shape == shape
    assert torch.isfinite(factor(torch.randn(3, shape[1]))).all()
    assert factor.weight_parameters() == factor_parameters(shape, form.rank, junction)


def test_a_random_factor_with_heads_has_the_size_of_its_form():
    factor = LayerShape("head-identity", 12, 20, 7, bias=False, heads=3).random()
    assert factor.weight_parameters() == 7 * 32 - 49 - 3 * 4 * 4
    assert factor.dense().shape == (12, 20)


def test_a_method_that_does_not_tell_is_an_error(tiny):
    class Silent:
        pass

    bare = Skeleton(tiny("opt").model, tiny("opt").family)
    with pytest.raises(UsageError, match="'silent' does not tell its ranks"):
        shapes_of(bare, "silent", Silent(), None, 0.3, "language")


@pytest.mark.parametrize("method", ["twinroot", "asvd-rootcov"])
def test_ranks_that_gradients_choose_are_not_made_up(method, tiny):
    compressor = compressors.get(method)
    config = configure(compressor.config, {"ranks": "fisher"}, method)
    bare = skeleton(tiny("llama").model.config, "float64")
    with pytest.raises(UsageError, match=r"gradients.*pass --ranks uniform"):
        shapes_of(bare, method, compressor, config, 0.3, "language")
