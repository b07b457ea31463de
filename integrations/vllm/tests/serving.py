"""What tests here have in common: opening a folder and asking for greedy tokens."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
# The workers are asked to run a function of these tests.
os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"

REFERENCES = Path(os.environ.get("HARNESS_VLLM_REFERENCES", "references"))


def cases(part: str) -> list[str]:
    """Those of ``references.py`` that were written and have ``part`` in their names."""
    return sorted(file.stem for file in REFERENCES.glob("*.json") if part in file.stem)


@contextmanager
def served(name: str, **options: object) -> Iterator[object]:
    """The saved model ``name``, opened by vLLM as ``vllm serve`` does."""
    from vllm import LLM

    options = {"dtype": "float32", "enforce_eager": True, "max_num_seqs": 64} | options
    llm = LLM(str(REFERENCES / name), max_model_len=128, **options)
    yield llm
    llm.llm_engine.engine_core.shutdown()


def asked(prompt: list[int] | dict[str, Any]) -> dict[str, Any]:
    """Tokens, or a text with the noise that ``references.py`` showed."""
    if isinstance(prompt, list):
        return {"prompt_token_ids": prompt}
    return {"prompt": prompt["text"], "multi_modal_data": {"image": noise(prompt["seed"])}}


def noise(seed: int, side: int = 64) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (side, side, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def disagreements(llm: object, name: str) -> list[str]:
    """Prompts after which vLLM writes other tokens than transformers."""
    from vllm import SamplingParams

    reference = json.loads((REFERENCES / f"{name}.json").read_text())
    wanted = reference["answers"]
    greedy = SamplingParams(temperature=0, max_tokens=len(wanted[0]), ignore_eos=True)
    prompts = [asked(prompt) for prompt in reference["prompts"]]
    written = [list(o.outputs[0].token_ids) for o in llm.generate(prompts, greedy, use_tqdm=False)]
    return [
        f"{number}: {one} instead of {other}"
        for number, (one, other) in enumerate(zip(written, wanted, strict=True))
        if one != other
    ]
