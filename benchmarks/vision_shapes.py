"""Time and memory to compress models of the shapes of LLaVA-7B and Qwen2.5-VL-7B.

The weights are random, so no accuracy means anything; what is measured is each stage (building,
calibration with compression, generation), its peak memory, and how far the model in factor form is
from the dense model with the same matrices, in the precision it runs in.

    python benchmarks/vision_shapes.py --model llava --device cuda --dtype bfloat16
"""

from __future__ import annotations

import argparse
import copy
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    CLIPImageProcessorPil,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)

from harness.assets.kinds import ModelAsset
from harness.calibration.prompts import draw_prompts
from harness.compression.compressor import compressors
from harness.compression.job import CompressionJob
from harness.compression.pipeline import compress_model
from harness.families.family import family_of
from harness.layers.factors import CompressedLinear
from harness.models.generation import answer, encode
from harness.models.language_model import LanguageModel
from harness.models.processors import ImagesOnlyQwenProcessor
from harness.models.prompt import Prompt, PromptSource
from harness.plugins.options import configure
from harness.records.spec import CalibrationSpec

CHAT = (
    "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}{% if c['type'] == 'image'"
    " %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %} {% endfor %}"
)
QUESTION = "What is written on the sign behind the second bus? Answer with a single word."


def tokenizer_with(*tokens: str) -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<pad>", "</s>", *tokens, *alphabet])}
    bytes_only = Tokenizer(models.BPE(vocabulary, []))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "additional_special_tokens": list(tokens)}
    return PreTrainedTokenizerFast(tokenizer_object=bytes_only, **special)


def llava(layers: int) -> tuple[PreTrainedModel, ProcessorMixin]:
    """LLaVA-1.5-7B: Vicuna-7B behind CLIP-L/14 at 336 pixels; transformers' defaults are these."""
    tokenizer = tokenizer_with("<image>")
    config = LlavaConfig(image_token_index=tokenizer.convert_tokens_to_ids("<image>"))
    config.text_config.update({"vocab_size": 32064, "num_hidden_layers": layers})
    size = {"height": 336, "width": 336}
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size=size),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT.replace("IMAGE", "<image>"),
    )
    return LlavaForConditionalGeneration(config), processor


def qwen2_5_vl(layers: int) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Qwen2.5-VL-7B, by its published configuration."""
    names = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    tokenizer = tokenizer_with(*names)
    image, video, start, end = tokenizer.convert_tokens_to_ids(names)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 152064,
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": layers,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [16, 24, 24],
            },
        },
        vision_config={
            "depth": min(32, layers),
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 3584,
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    processor = ImagesOnlyQwenProcessor(
        Qwen2VLImageProcessorPil(),
        tokenizer,
        chat_template=CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    return Qwen2_5_VLForConditionalGeneration(config), processor


BUILDERS: dict[str, tuple[int, Callable[[int], tuple[PreTrainedModel, ProcessorMixin]]]] = {
    "llava": (32, llava),
    "qwen2_5_vl": (28, qwen2_5_vl),
}


def picture(seed: int) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (24, 32, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy()).resize((640, 480))


def dense_equivalent(subject: LanguageModel) -> PreTrainedModel:
    """The same matrices, multiplied out into ordinary linear layers."""
    model = copy.deepcopy(subject.model)
    for path, factor in list(model.named_modules()):
        if isinstance(factor, CompressedLinear):
            matrix = factor.dense()
            linear = nn.Linear(*matrix.T.shape, bias=factor.bias is not None)
            linear.weight = nn.Parameter(matrix.to(subject.model.dtype))
            if factor.bias is not None:
                linear.bias = nn.Parameter(factor.bias.to(subject.model.dtype))
            model.set_submodule(path, linear)
    return model


@contextmanager
def stage(name: str, device: torch.device) -> Iterator[None]:
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    yield
    if on_gpu:
        torch.cuda.synchronize(device)
    took = time.perf_counter() - start
    peak = (
        torch.cuda.max_memory_allocated(device)
        if on_gpu
        else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    print(f"{name:<28} {took:8.1f} s   peak {peak / 2**30:6.2f} GiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=BUILDERS, default="llava")
    parser.add_argument("--layers", type=int, help="decoder layers (default: all)")
    parser.add_argument("--method", default="latentllm")
    parser.add_argument("--ratio", type=float, default=0.3)
    parser.add_argument("--scope", choices=("language", "vision", "all"), default="language")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="bfloat16")
    chosen = parser.parse_args()
    device, dtype = torch.device(chosen.device), getattr(torch, chosen.dtype)
    everything, build = BUILDERS[chosen.model]
    layers = chosen.layers or everything
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{chosen.model}, {layers} decoder layers, {chosen.dtype}, on {place}")

    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with stage("build", device):
        with device:
            model, processor = build(layers)
        model.eval()
    torch.set_default_dtype(torch.float32)
    asset = ModelAsset(chosen.model, Path(), "0" * 64)
    subject = LanguageModel(model, processor.tokenizer, family_of(model.config), asset, processor)

    prompts = [Prompt(QUESTION, (picture(i),), "bakery") for i in range(chosen.samples)]
    spec = CalibrationSpec(
        text="random", samples=chosen.samples, length=None, sampling="prompts", seed=0
    )
    calibration = draw_prompts(PromptSource("random", prompts, "0" * 64), subject, spec)
    compressor = compressors.get(chosen.method)
    with stage(f"calibrate and compress {chosen.ratio:.0%}", device):
        small = compress_model(
            subject,
            CompressionJob(
                chosen.method,
                compressor,
                configure(compressor.config, {}, chosen.method),
                chosen.ratio,
                calibration,
                scope=chosen.scope,
                batch_size=chosen.batch_size,
            ),
        )
    asked = [Prompt(QUESTION, (picture(-1 - i),)) for i in range(chosen.batch_size)]
    for name, one in (("dense", subject), ("compressed", small)):
        with stage(f"16 tokens x {chosen.batch_size}, {name}", device):
            answer(one, asked, 16)
    inputs = encode(small, asked)
    with torch.no_grad():
        found = small.model(**inputs).logits.double()
        expected = dense_equivalent(small)(**inputs).logits.double()
    deviation = (found - expected).norm() / expected.norm()
    print(f"calibrated on {calibration.facts.tokens:,} tokens")
    print(f"logits against the dense equivalent: relative deviation {deviation:.2e}")


if __name__ == "__main__":
    main()
