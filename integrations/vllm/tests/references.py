"""Saved models and what transformers makes of them, for vLLM's environment to compare with.

Run in harness's environment: ``python integrations/vllm/tests/references.py FOLDER``. Each case is
a folder to serve and a file of prompts with the 32 tokens that greedy decoding gives.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parents[3]))

import harness
from harness.assets.texts import resolve_text
from harness.checkpoints.format import Layout
from harness.checkpoints.layer_formats import saved_layers
from harness.checkpoints.save import plain_configuration, stored_tensors
from harness.checkpoints.shards import write_shards
from harness.families.family import family_of
from harness.families.stack import Block
from harness.layers.factors import CompressedLinear, OutputIdentity
from harness.layers.install import install_layers
from harness.layers.roles import Role
from harness.layers.shapes import LayerShape
from tests.helpers.tiny_models import MODELS, opt, train_tokenizer, words
from tests.helpers.tiny_vision_models import noise

PROMPTS, NEW = 64, 32
HEAD = 32
"""vLLM's attention on CPUs knows some sizes of heads, of which this is the smallest."""
FORMS = ("plain", "block-identity", "block-identity-output", "head-identity", "narrow", "dense")
"""Of the linear layers of one block each."""
BIASED = ("plain", "block-identity-output", "narrow", "dense")
"""Blocks all of whose layers have biases, also where the architecture has none."""
SIZES = {"num_hidden_layers": len(FORMS), "num_attention_heads": 4, "max_position_embeddings": 128}
GATED = {"hidden_size": 96, "head_dim": HEAD, "intermediate_size": 160, "num_key_value_heads": 2}
OPT = {"hidden_size": 4 * HEAD, "word_embed_proj_dim": 4 * HEAD, "ffn_dim": 160}
TOWER_FORMS = ("block-identity-output", "narrow", "head-identity")
VISION = {"llava": "builtin:llava-tiny", "qwen2.5-vl": "builtin:qwen2.5-vl-tiny"}
QUESTION = {"llava": "USER: <image>\n{} ASSISTANT:"}
QUESTION["qwen2.5-vl"] = "USER: <|vision_start|><|image_pad|><|vision_end|>{} ASSISTANT:"
FAMILIES = ("opt", "opt-350m", "llama", "qwen2", "qwen3")


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--saved", type=Path, nargs="*", default=[], help="compressed already")
    arguments.add_argument("--only", nargs="*", help="names of cases")
    options = arguments.parse_args()
    makers = {f"{family}-every-form": (every_form, family) for family in FAMILIES}
    makers |= {f"{family}-sees": (sees, family) for family in VISION}
    for name, (make, argument) in makers.items():
        if options.only is None or name in options.only:
            make(options.folder / name, argument)
    for folder in options.saved:
        model = harness.load(folder)
        write_reference(options.folder / folder.name, model.model, texts(model.tokenizer))


def every_form(folder: Path, family: str) -> None:
    """A random model with a block in each form."""
    torch.manual_seed(0)
    model = random_layers(family)
    put_forms(model, family_of(model.config).blocks(model), FORMS)
    fill(model)
    write(folder, model, train_tokenizer())
    write_reference(folder, model, random_prompts(model.config.vocab_size))


def sees(folder: Path, family: str) -> None:
    """A small model that sees, with blocks of decoder and tower in each form."""
    torch.manual_seed(0)
    subject = harness.load_model(VISION[family])
    model, blocks = subject.model, subject.family.blocks
    put_forms(model, blocks(model, "vision"), TOWER_FORMS)
    put_forms(model, blocks(model), FORMS)
    for module in model.modules():
        if isinstance(module, CompressedLinear):
            fill(module, std=0.1)
    write(folder, model, subject.processor)
    questions, answers = [], []
    for number in range(PROMPTS):
        text = QUESTION[family].format(words(number, 3 + number % 20))
        inputs = subject.processor(text=text, images=[noise(number, 64, 64)], return_tensors="pt")
        questions.append({"text": text, "seed": number})
        answers.append(greedy(model, inputs))
    write_answers(folder, questions, answers)


def put_forms(model: PreTrainedModel, blocks: Sequence[Block], forms: Sequence[str]) -> None:
    """One of ``forms`` in each of ``blocks``."""
    shapes = {
        block.layer_name(role): shape
        for form, block in zip(itertools.cycle(forms), blocks, strict=False)
        for role, shape in shapes_of(model, block, form)
    }
    install_layers(model, shapes)


def random_layers(family: str) -> PreTrainedModel:
    sizes = OPT if family.startswith("opt") else GATED
    if family == "opt-350m":
        sizes = sizes | {"do_layer_norm_before": False, "word_embed_proj_dim": 48}
    if family == "qwen2":
        sizes = sizes | {"hidden_size": 4 * HEAD}  # vLLM takes its heads for that large
    made = (opt if family.startswith("opt") else MODELS[family])()
    config = copy.deepcopy(made.config)
    for name, value in (SIZES | sizes).items():
        setattr(config, name, value)
    if hasattr(config, "layer_types"):
        config.layer_types = ["full_attention"] * len(FORMS)
    return type(made)(config).eval()


def shapes_of(model: PreTrainedModel, block: Block, form: str) -> Iterator[tuple[Role, LayerShape]]:
    """How the layers of ``block`` are to be stored."""
    for role, layer in block.weights(model).layers.items():
        d_out, d_in = layer.weight.shape
        biased = layer.bias is not None or form in BIASED
        shape = LayerShape(form, d_out, d_in, min(d_out, d_in) // 2, biased)
        match form, role:
            case "head-identity", "query" | "key" | "value":
                shape = replace(shape, heads=d_out // HEAD, rank=HEAD + 7)
            case "head-identity", _:
                shape = replace(shape, form="block-identity")
            case "narrow", "gate" | "up":
                shape = replace(shape, form="kept-rows", rank=101)
            case "narrow", "down":
                shape = replace(shape, form="kept-columns", rank=101)
            case "narrow", _:
                shape = replace(shape, form="plain")
        yield role, shape


def fill(model: nn.Module, std: float = 0.2) -> None:
    """Every bias and norm weight matters, none is zero or one."""
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            nn.init.normal_(parameter, std=std)
        if "Norm" in type(module).__name__:
            nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, OutputIdentity):
            module.restore()


def write(folder: Path, model: PreTrainedModel, reader: Any) -> None:
    """What ``harness.save`` writes, for a model that no method has made."""
    folder.mkdir(parents=True, exist_ok=True)
    layout = Layout(layers=saved_layers(model)).model_dump(mode="json")
    content = plain_configuration(model) | {"quantization_config": layout}
    (folder / "config.json").write_text(json.dumps(content, indent=1))
    write_shards(stored_tensors(model), folder)
    reader.save_pretrained(folder)


def random_prompts(vocabulary: int) -> list[list[int]]:
    chance = random.Random(0)
    return [
        [chance.randrange(2, vocabulary) for _ in range(chance.randrange(3, 40))]
        for _ in range(PROMPTS)
    ]


def texts(tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    """Stretches of a text."""
    ids = tokenizer("\n\n".join(resolve_text("wiki-excerpt", "evaluation").documents))["input_ids"]
    chance = random.Random(0)
    starts = [chance.randrange(len(ids) - 64) for _ in range(PROMPTS)]
    return [ids[start : start + chance.randrange(8, 64)] for start in starts]


def write_reference(folder: Path, model: PreTrainedModel, prompts: list[list[int]]) -> None:
    """Beside the folder, what greedy decoding appends to each prompt."""
    ids = [torch.tensor([prompt]) for prompt in prompts]
    answers = [
        greedy(model, {"input_ids": one, "attention_mask": torch.ones_like(one)}) for one in ids
    ]
    write_answers(folder, prompts, answers)


def write_answers(folder: Path, prompts: list[Any], answers: list[list[int]]) -> None:
    content = {"prompts": prompts, "answers": answers}
    (folder.parent / f"{folder.name}.json").write_text(json.dumps(content))


@torch.no_grad()
def greedy(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> list[int]:
    model.generation_config.eos_token_id = None
    written = model.generate(**inputs, max_new_tokens=NEW, do_sample=False)
    return written[0, inputs["input_ids"].shape[1] :].tolist()


if __name__ == "__main__":
    main()
