"""NaN is blamed on the weights where they hold it, and on the dtype only where another may help."""

from __future__ import annotations

import shutil

import pytest
import torch

import harness
from harness.errors import NonFiniteError
from harness.models.non_finite import non_finite_explained
from tests.helpers import tiny_models

NAMES = {
    "a linear layer": "model.layers.1.mlp.up_proj.weight",
    "a norm": "model.layers.1.input_layernorm.weight",
    "the embedding": "model.embed_tokens.weight",
}


@pytest.fixture
def damaged(tmp_path, model_folder, tokenizer):
    def build(name):
        model = tiny_models.random_model("llama", torch.float32)
        model.get_parameter(name).data.view(-1)[0] = float("nan")
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return build


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_the_damaged_tensor_is_named_whatever_is_done_with_the_model(cli, command, damaged, name):
    told = cli(*command(model=damaged(name)))
    assert told.code == 4
    assert "the model itself holds NaN or infinity, in " in told.err
    assert name.removesuffix(".weight") in told.err
    assert "--dtype" not in told.err


@pytest.mark.parametrize(
    ("dtype", "ratio", "advice"),
    [
        ("float32", 0, "boom"),
        ("float32", 0.5, "boom; try a smaller --ratio"),
        ("bfloat16", 0, "boom; try --dtype float32"),
        ("float16", 0.5, "boom; try --dtype float32 or a smaller --ratio"),
    ],
)
def test_sound_weights_get_advice_that_can_help(tiny, dtype, ratio, advice):
    subject = tiny("llama", getattr(torch, dtype))
    with pytest.raises(NonFiniteError) as error, non_finite_explained(subject, ratio):
        raise NonFiniteError("boom")
    assert str(error.value) == advice


def test_from_python_too(damaged, texts):
    subject = harness.load_model(str(damaged(NAMES["a norm"])))
    with pytest.raises(NonFiniteError, match=r"the model itself holds NaN.*input_layernorm"):
        harness.evaluate(subject, "wikitext2", data=str(texts / "evaluation.txt"), window=32)
