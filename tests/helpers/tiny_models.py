"""Random models of every family, small enough to compress hundreds of times."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from harness.assets.kinds import ModelAsset
from harness.calibration.text import TextCalibration
from harness.families.family import family_of
from harness.models.language_model import LanguageModel
from harness.records.record import DataFacts
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.collect import collect
from harness.support.progress import silent

CONTEXT = 64
VOCABULARY = 300
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
SPECIAL_TOKENS = {"pad_token": "<pad>", "bos_token": "</s>", "eos_token": "</s>"}
WORDS = "the a cat dog bird tree house river sat ran flew on under over quick slow red blue"


def words(seed: int, count: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS.split(), k=count))


def train_tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([words(0, 500)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, **SPECIAL_TOKENS)


def opt(**changes: object) -> PreTrainedModel:
    options = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
        **SPECIAL,
    }
    return OPTForCausalLM(OPTConfig(**options | changes))


def _gated(**changes: object) -> dict[str, object]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
        **SPECIAL,
        **changes,
    }


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "opt": opt,
    "opt-350m": lambda: opt(do_layer_norm_before=False, word_embed_proj_dim=20),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_gated(tie_word_embeddings=True))),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_gated())),
    "qwen2-sliding": lambda: Qwen2ForCausalLM(
        Qwen2Config(**_gated(use_sliding_window=True, sliding_window=5, max_window_layers=1))
    ),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_gated(head_dim=12))),
}
"""``opt-350m`` normalises after attention and projects its embeddings; the blocks of
``qwen2-sliding`` differ in what they attend to."""


def random_model(name: str, dtype: torch.dtype = torch.float64, seed: int = 0) -> PreTrainedModel:
    """Every bias and norm weight matters, none is zero or one."""
    torch.manual_seed(seed)
    model = MODELS[name]().to(dtype).eval()
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            nn.init.normal_(parameter, std=0.2)
        if "Norm" in type(module).__name__:
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model


def random_calibration(samples: int = 6, length: int = 16, seed: int = 0) -> TextCalibration:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, VOCABULARY, (samples, length), generator=generator)
    return TextCalibration(
        ids, torch.ones_like(ids), DataFacts(reference="random", fingerprint=str(seed))
    )


@cache
def statistics_of(name: str, *, gradients: bool = True) -> Sequence[BlockStatistics]:
    """All that a method may ask for, of ``random_model(name)`` on ``random_calibration()``."""
    model = random_model(name)
    return collect(
        model,
        family_of(model.config).blocks(model),
        random_calibration(),
        batch_size=4,
        keep_mlp_tokens=True,
        gradients=gradients,
        track=silent,
    )


def wrap(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> LanguageModel:
    asset = ModelAsset("tiny", Path(), "0" * 64)
    return LanguageModel(model, tokenizer, family_of(model.config), asset)


@torch.no_grad()
def stored_inputs(model, path, ids):
    """Every token that enters the module at ``path``, all at once."""
    kept = []
    handle = model.get_submodule(path).register_forward_pre_hook(
        lambda _, inputs: kept.append(inputs[0])
    )
    model.base_model(input_ids=ids, use_cache=False)
    handle.remove()
    (x,) = kept
    # OPT flattens the tokens of a batch before its MLP.
    return x if len(x) == ids.numel() else x.flatten(0, 1)
