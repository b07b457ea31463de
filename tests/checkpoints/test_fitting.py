"""A model, its tokenizer and its calibration have to fit each other before any work is done."""

from __future__ import annotations

import shutil

import pytest
import torch

from harness.checkpoints.load import load_model
from harness.errors import AssetError
from tests.helpers import tiny_models


def test_a_tokenizer_with_more_tokens_than_the_embedding_has_rows_is_refused(tmp_path, tokenizer):
    model = tiny_models.random_model("llama", torch.float32)
    model.resize_token_embeddings(len(tokenizer) - 3)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    expected = (
        rf"tokens up to number {len(tokenizer) - 1}, its embedding rows up to {len(tokenizer) - 4}"
    )
    with pytest.raises(AssetError, match=expected):
        load_model(str(tmp_path))


@pytest.mark.parametrize("name", ["opt", "llama"])
def test_calibration_is_no_longer_than_the_model_sees(
    tmp_path, model_folder, texts, name, monkeypatch, cli
):
    def fail(*_, **__):
        raise AssertionError("work was done")

    monkeypatch.setattr("harness.experiments.runner.compress_model", fail)
    folder = shutil.copytree(model_folder(name), tmp_path / "model")
    told = cli(
        *("run", "--model", folder, "--method", "asvd-l2", "--length", 129, "--samples", 1),
        *("--calibration", texts / "calibration.txt", "--window", 32),
        *("--tasks", f"wikitext2={texts / 'evaluation.txt'}", "--output", tmp_path / "results"),
    )
    assert told.code == 2, told.err
    assert f"sees at most {tiny_models.CONTEXT} tokens, not 129; pass --length" in told.err
    assert not list((tmp_path / "results").glob("*.json"))
