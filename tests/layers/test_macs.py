"""Multiply-accumulates, against what torch counts while the model runs."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.compression.compressor import compressors
from harness.compression.job import CompressionJob
from harness.compression.pipeline import compress_model
from harness.layers.macs import macs_per_token
from harness.plugins.options import configure
from tests.helpers.tiny_models import MODELS, random_calibration
from tests.helpers.tiny_vision_models import VISION_MODELS, tiny_vision_model

TOKENS = 16
PRODUCTS = (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm)


@torch.no_grad()
def counted(model) -> int:
    """Of matrix products; those of attention are in a kernel of their own, which is left out."""
    with FlopCounterMode(display=False) as counter:
        model(torch.arange(TOKENS)[None])
    flops = sum(counter.get_flop_counts()["Global"].get(product, 0) for product in PRODUCTS)
    return flops // 2 // TOKENS


@pytest.mark.parametrize("name", MODELS)
def test_a_dense_model_costs_what_torch_counts(name, tiny):
    model = tiny(name).model
    assert macs_per_token(model) == counted(model)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("svd", {"junction": "left"}),
        ("svd", {"junction": "block-identity"}),
        ("asvd-rootcov", {"junction": "block-identity-output"}),
        ("latentllm", {}),
    ],
)
@pytest.mark.parametrize("name", ["opt", "opt-350m", "qwen3"])
def test_a_compressed_model_costs_what_torch_counts(name, method, options, tiny):
    compressor = compressors.get(method)
    config = configure(compressor.config, options, method)
    dense = tiny(name)
    small = compress_model(
        dense, CompressionJob(method, compressor, config, 0.4, random_calibration())
    )
    assert small.compression.macs == macs_per_token(small.model) == counted(small.model)
    removed = sum(
        d * e - layer.parameters for layer in small.compression.layers for d, e in [layer.shape]
    )
    assert small.compression.macs == macs_per_token(dense.model) - removed


@pytest.mark.parametrize("name", VISION_MODELS)
def test_a_tower_does_not_count(name):
    model = tiny_vision_model(name).model
    whole = macs_per_token(model)
    blocks = model.get_decoder().layers
    heads = model.get_output_embeddings().weight.numel()
    linear = sum(p.numel() for p in blocks.parameters() if p.dim() == 2)
    assert whole == heads + linear
