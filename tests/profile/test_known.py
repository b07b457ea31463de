"""The published models' shapes, against the paper's tables and counts made by others."""

from __future__ import annotations

import pytest
from transformers import OPTConfig

from harness.errors import AssetError, UsageError
from harness.profile.known import architectures, configuration
from harness.profile.skeleton import skeleton

# Layers, query heads, key/value heads, hidden, head and inner size, as the paper prints them.
PAPER = {
    "facebook/opt-125m": (12, 12, 12, 768, 64, 3072),
    "facebook/opt-350m": (24, 16, 16, 1024, 64, 4096),
    "facebook/opt-1.3b": (24, 32, 32, 2048, 64, 8192),
    "facebook/opt-2.7b": (32, 32, 32, 2560, 80, 10240),
    "facebook/opt-6.7b": (32, 32, 32, 4096, 128, 16384),
    "facebook/opt-13b": (40, 40, 40, 5120, 128, 20480),
    "facebook/opt-30b": (48, 56, 56, 7168, 128, 28672),
    "facebook/opt-66b": (64, 72, 72, 9216, 128, 36864),
    "facebook/opt-175b": (96, 96, 96, 12288, 128, 49152),
    "Qwen/Qwen3-0.6B": (28, 16, 8, 1024, 128, 3072),
    "Qwen/Qwen3-1.7B": (28, 16, 8, 2048, 128, 6144),
    "Qwen/Qwen3-4B": (36, 32, 8, 2560, 128, 9728),
    "Qwen/Qwen3-8B": (36, 32, 8, 4096, 128, 12288),
    "Qwen/Qwen3-14B": (40, 40, 8, 5120, 128, 17408),
    "Qwen/Qwen3-32B": (64, 64, 8, 5120, 128, 25600),
    "google/vit-base-patch16-224": (12, 12, 12, 768, 64, 3072),
    "meta-llama/Llama-2-7b-hf": (32, 32, 32, 4096, 128, 11008),
    "meta-llama/Llama-3.2-1B-Instruct": (16, 32, 8, 2048, 64, 8192),
    "bigscience/bloom-560m": (24, 16, 16, 1024, 64, 4096),
    "Qwen/Qwen2-0.5B": (24, 14, 2, 896, 64, 4864),
    "FacebookAI/roberta-base": (12, 12, 12, 768, 64, 3072),
    "microsoft/Phi-3.5-mini-instruct": (32, 32, 32, 3072, 96, 8192),
    "google/gemma-2b": (18, 8, 1, 2048, 256, 16384),
}


def test_every_model_of_the_papers_tables_is_known():
    listed = {
        model.id for model in architectures().values() if {"6", "7", "11"} & set(model.tables)
    }
    assert listed == set(PAPER)


@pytest.mark.parametrize("name", PAPER)
def test_shapes_are_those_of_the_papers_tables(name):
    bare = skeleton(configuration(name), "float16")
    blocks = [weights for _, weights in bare.blocks()]
    attention, layers = blocks[0].attention, blocks[0].layers
    hidden = layers["down"].weight.shape[0]
    sizes = attention.heads, attention.kv_heads, hidden, attention.head_size
    assert (len(blocks), *sizes, layers["down"].weight.shape[1]) == PAPER[name]


@pytest.mark.parametrize(
    "name", [name for name, model in architectures().items() if model.parameters]
)
def test_parameters_are_as_others_count_them(name):
    model = skeleton(configuration(name), "float16").model
    assert sum(p.numel() for p in model.parameters()) == architectures()[name].parameters


def test_a_skeleton_takes_no_memory_and_shares_its_embedding():
    model = skeleton(configuration("facebook/opt-175b"), "float16").model
    assert all(parameter.is_meta for parameter in model.parameters())
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_our_own_models_are_found_by_alias_and_name():
    assert configuration("smollm2-135m").hidden_size == 576
    assert configuration("builtin:opt-tiny").model_type == "opt"


def test_a_folder_needs_no_weights(tmp_path):
    OPTConfig(hidden_size=24).save_pretrained(tmp_path)
    assert configuration(str(tmp_path)).hidden_size == 24


def test_what_is_not_known_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"unknown model 'smollm2-13m'"):
        configuration("smollm2-13m")
    with pytest.raises(UsageError, match="has no config"):
        configuration(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(AssetError, match="does not load"):
        configuration(str(tmp_path))
    with pytest.raises(AssetError, match="cannot get the model 'nobody/nothing' from the hub"):
        configuration("nobody/nothing")
