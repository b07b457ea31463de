"""Tiny random models and a tokenizer trained on the spot; nothing is fetched."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import huggingface_hub.constants
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from harness.assets.kinds import ModelAsset
from harness.families.family import Family
from harness.families.llama import family as llama_family
from harness.families.opt import family as opt_family
from harness.models.language_model import LanguageModel
from tests.tasks.sentences import CONTEXT, sentence

SPECIAL = {"pad_token": "<pad>", "bos_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}

Subject = Callable[..., LanguageModel]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    cache = tmp_path_factory.getbasetemp() / "datasets"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads, and collecting the libraries' own objects, only cost time on models this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.freeze()
    yield
    gc.unfreeze()
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "</s>", "<unk>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    bpe.train_from_iterator([sentence(0, 500)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        model_max_length=CONTEXT,
        **SPECIAL,
    )


def tiny_opt(vocabulary: int) -> PreTrainedModel:
    return OPTForCausalLM(
        OPTConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            word_embed_proj_dim=32,
            ffn_dim=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=CONTEXT,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=1,
        )
    )


def tiny_llama(vocabulary: int) -> PreTrainedModel:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=1,
            tie_word_embeddings=False,
        )
    )


FAMILIES: dict[str, tuple[Callable[[int], PreTrainedModel], Family]] = {
    "opt": (tiny_opt, opt_family),
    "llama": (tiny_llama, llama_family),
}


@pytest.fixture
def subject(tokenizer: PreTrainedTokenizerFast) -> Subject:
    """Build a model by its family's name; OPT ties its embeddings, LLaMA does not."""

    def build(family: str, seed: int = 0, dtype: torch.dtype = torch.float32) -> LanguageModel:
        torch.manual_seed(seed)
        make, known = FAMILIES[family]
        model = make(len(tokenizer))
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        asset = ModelAsset(f"tiny-{family}", Path(), "0" * 64)
        return LanguageModel(model.to(dtype).eval(), tokenizer, known, asset)

    return build


@pytest.fixture
def out_of_memory_above() -> Callable[[PreTrainedModel, int], list[int]]:
    """Make a model run out of memory with larger batches; gives the batch sizes it saw."""

    def limit(model: PreTrainedModel, largest: int) -> list[int]:
        forward, seen = model.forward, []

        def checked(input_ids: torch.Tensor, **inputs: object) -> object:
            seen.append(len(input_ids))
            if len(input_ids) > largest:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
            return forward(input_ids=input_ids, **inputs)

        model.forward = checked
        return seen

    return limit
