"""What each family says of its models, held against the models themselves."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from harness.errors import NonFiniteError, UsageError
from harness.families.family import families, family_of
from tests.helpers.tiny_models import MODELS, random_model

OUTSIDE_BLOCKS = {"lm_head", "model.decoder.project_in", "model.decoder.project_out"}
GATED_SHAPES = {"gate": (48, 32), "up": (48, 32), "down": (32, 48)}
SHAPES = {
    "opt": dict.fromkeys(("query", "key", "value", "output"), (32, 32))
    | {"up": (48, 32), "down": (32, 48)},
    "llama": {"query": (32, 32), "key": (16, 32), "value": (16, 32), "output": (32, 32)}
    | GATED_SHAPES,
    "qwen3": {"query": (48, 32), "key": (24, 32), "value": (24, 32), "output": (32, 48)}
    | GATED_SHAPES,
}
SHAPES |= {"opt-350m": SHAPES["opt"], "qwen2": SHAPES["llama"], "qwen2-sliding": SHAPES["llama"]}


@pytest.fixture(params=MODELS)
def name(request, one_thread):
    return request.param


def test_every_linear_layer_of_the_blocks_is_found(name):
    model = random_model(name)
    family = family_of(model.config).language
    blocks = family.block_list(model)
    found = {f"{family.blocks}.{i}.{path}" for i in range(2) for path in family.layers.values()}
    linear = {path for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert len(blocks) == 2
    assert linear - OUTSIDE_BLOCKS == found


def test_weights_have_their_shapes_and_share_the_models_memory(name):
    model = random_model(name)
    family = family_of(model.config).language
    for block in family.block_list(model):
        layers = family.weights(model, block).layers
        assert {role: tuple(layer.weight.shape) for role, layer in layers.items()} == SHAPES[name]
        for role, path in family.layers.items():
            linear = block.get_submodule(path)
            assert layers[role].weight.data_ptr() == linear.weight.data_ptr()
            assert (layers[role].bias is None) == (linear.bias is None)
            assert not layers[role].weight.requires_grad


@pytest.mark.parametrize(
    ("name", "biased"),
    [
        ("opt", {"query", "key", "value", "output", "up", "down"}),
        ("llama", set()),
        ("qwen2", {"query", "key", "value"}),
        ("qwen3", set()),
    ],
)
def test_biases_are_where_the_architecture_has_them(name, biased):
    model = random_model(name)
    family = family_of(model.config).language
    layers = family.weights(model, family.block_list(model)[0]).layers
    assert {role for role, layer in layers.items() if layer.bias is not None} == biased


@pytest.mark.parametrize(
    ("name", "heads", "kv_heads", "size", "activation"),
    [
        ("opt", 4, 4, 8, "relu"),
        ("opt-350m", 4, 4, 8, "relu"),
        ("llama", 4, 2, 8, "silu"),
        ("qwen2", 4, 2, 8, "silu"),
        ("qwen3", 4, 2, 12, "silu"),
    ],
)
def test_geometry_of_the_attention(name, heads, kv_heads, size, activation):
    model = random_model(name)
    family = family_of(model.config).language
    block = family.weights(model, family.block_list(model)[1])
    geometry = block.attention
    assert (geometry.heads, geometry.kv_heads, geometry.head_size) == (heads, kv_heads, size)
    assert geometry.group == heads // kv_heads
    assert block.activation == activation
    if name.startswith("opt"):
        assert geometry.rotary is None
    else:
        theta = model.config.rope_parameters["rope_theta"]
        expected = theta ** (-torch.arange(0, size, 2) / size)
        torch.testing.assert_close(geometry.rotary.float(), expected, rtol=1e-6, atol=0)


def test_head_norms_are_those_of_the_block():
    model = random_model("qwen3")
    family = family_of(model.config).language
    for block in family.block_list(model):
        geometry = family.weights(model, block).attention
        assert torch.equal(geometry.query_norm, block.self_attn.q_norm.weight)
        assert torch.equal(geometry.key_norm, block.self_attn.k_norm.weight)
    assert family_of(random_model("llama").config).language.query_norm is None


def test_an_unknown_family_names_what_was_found_and_how_to_add_one():
    config = SimpleNamespace(model_type="mamba", architectures=["MambaForCausalLM"])
    with pytest.raises(UsageError) as caught:
        family_of(config)
    message = str(caught.value)
    for part in ("'mamba'", "MambaForCausalLM", "llama, llava", "docs/adding.md"):
        assert part in message


def test_every_declared_family_loads_under_its_model_type():
    assert families.names()
    for model_type in families.names():
        assert families.get(model_type).model_type == model_type


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("llama", "model.layers.1.mlp.up_proj.weight"),
        ("opt", "model.decoder.layers.0.self_attn.k_proj.bias"),
    ],
)
def test_a_weight_that_is_no_number_names_its_layer(name, layer, number):
    model = random_model(name)
    model.get_parameter(layer).data.view(-1)[-1] = number
    path = layer.rpartition(".")[0]
    blocks = family_of(model.config).blocks(model)
    with pytest.raises(NonFiniteError, match=rf"holds NaN or infinity, in {path};"):
        [block.require_finite() for block in blocks]


def test_a_wrong_path_of_the_blocks_is_an_error():
    model = random_model("llama")
    with pytest.raises(UsageError, match=r"'model\.norm' .* no list of blocks"):
        replace(family_of(model.config).language, blocks="model.norm").block_list(model)
