"""llama.cpp itself computes from a GGUF file what the model computes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import harness
from harness.assets.texts import resolve_text
from harness.checkpoints.gguf_export import export_gguf
from harness.layers.factors import DenseLinear
from harness.layers.pruned import KeptColumns, KeptRows
from harness.models.language_model import share_copy
from tasks.perplexity import cut, window_losses
from tests.helpers.saved_models import inputs_of, logits, subject_of

pytestmark = [pytest.mark.slow, pytest.mark.soak]

WINDOW, WINDOWS = 512, 16
TEXT = "It's 1234 rivers;  naïve\n\n\tbirds don't FLY… \u00e9\u4e2d\u6587 x=y+1\r\n   end  "


@pytest.fixture
def opened():
    """``opened(file)``: the model as llama.cpp has it, all of its logits kept."""
    # Here and not for the whole file, which would count as skipped where it is not even asked for.
    llama_cpp = pytest.importorskip("llama_cpp", reason="needs harness[llama]")
    models = []

    def open_file(file):
        exact = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
        made = llama_cpp.Llama(
            str(file), n_ctx=WINDOW, n_threads=1, logits_all=True, verbose=False, **exact
        )
        models.append(made)
        return made

    yield open_file
    for model in models:
        model.close()


def logits_of(model, ids):
    model.reset()
    model.eval(ids)
    return torch.from_numpy(np.array(model.scores[: len(ids)]))


def pruned(subject, widths):
    """A copy with the first neurons of each block alone: as many as ``widths`` say in turn."""
    small = replace(subject, model=share_copy(subject.model))
    for index, block in enumerate(small.family.blocks(small.model)):
        layers = block.weights(small.model).layers
        count = widths[index % len(widths)]
        kept, size = torch.arange(count), layers["down"].weight.shape[1]
        block.install(
            {
                role: KeptColumns(layer.weight[:, :count], kept, size, layer.bias)
                if role == "down"
                else KeptRows(layer.weight[:count], kept, size, None)
                if role in {"gate", "up"}
                else DenseLinear(layer.weight, layer.bias)
                for role, layer in layers.items()
            }
        )
    return small


@pytest.mark.parametrize(
    ("family", "widths"),
    [
        *((family, (48,)) for family in ("llama", "qwen2", "qwen3")),
        *((family, (48, 32)) for family in ("llama", "qwen2")),
    ],
    ids=str,
)
def test_logits_of_random_models_agree(family, widths, opened, one_thread, tmp_path):
    subject = pruned(subject_of(family), widths)
    model = opened(export_gguf(subject, tmp_path / "small.gguf", "f32"))
    for row, expected in zip(inputs_of(subject)["input_ids"], logits(subject), strict=True):
        found = logits_of(model, row.tolist())
        assert (found - expected).norm() < 1e-5 * expected.norm()


@pytest.fixture(scope="module")
def real():
    return harness.load_model("smollm2-135m")


def test_tokens_agree(real, opened, tmp_path):
    model = opened(export_gguf(real, tmp_path / "real.gguf", "q8_0"))
    assert model.tokenize(TEXT.encode(), add_bos=True) == real.tokenizer(TEXT).input_ids


@pytest.mark.parametrize(
    ("widths", "file_type", "within"),
    [
        ((1536,), "f32", 0.001),
        ((1504,), "f16", 0.01),
        ((1504, 1536), "f16", 0.01),
        ((1504,), "q8_0", 0.01),
    ],
    ids=str,
)
def test_perplexities_agree(widths, file_type, within, real, opened, tmp_path):
    subject = pruned(real, widths)
    text = "\n\n".join(resolve_text("wiki-excerpt", "evaluation").documents)
    tokens = real.tokenizer(text).input_ids
    windows = cut(torch.tensor(tokens), WINDOW)[:WINDOWS]
    expected = window_losses(subject.model, windows, 4).mean()
    model = opened(export_gguf(subject, tmp_path / "small.gguf", file_type))
    losses = []
    for window in windows:
        found = logits_of(model, window.tolist())[:-1]
        losses.append(torch.nn.functional.cross_entropy(found, window[1:]))
    assert math.exp(abs(float(torch.stack(losses).double().mean() - expected))) < 1 + within
