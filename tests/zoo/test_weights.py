from __future__ import annotations

import json

import pytest

from harness.assets.builtin import WEIGHTS
from harness.checkpoints.load import load_model

MEBIBYTE = 2**20
SHIPPED = sorted(path.parent for path in WEIGHTS.glob("*/config.json"))


def size(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


def test_all_models_together_take_little_room():
    assert sum(map(size, SHIPPED)) <= 20 * MEBIBYTE


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_model_is_small_whole_and_has_a_card(folder):
    assert size(folder) <= 6 * MEBIBYTE
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"
    subject = load_model(str(folder))
    assert subject.model.num_parameters() <= 3_000_000
    assert subject.tokenizer.pad_token_id is not None
    assert (subject.processor is None) == (subject.family.vision is None)
    card = (folder / "README.md").read_text()
    assert f"python -m harness.zoo train {folder.name}" in card
    assert "## Loss curve" in card
