from __future__ import annotations

import copy
import json

import pytest

from harness.errors import AssetError
from harness.models.tokenizers import load_tokenizer


def test_a_pattern_that_its_library_panics_on(tokenizer, tmp_path, capfd):
    tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    split = {"type": "Split", "behavior": "Isolated", "invert": False}
    content["pre_tokenizer"] = split | {"pattern": {"Regex": "(a+)+$"}}
    path.write_text(json.dumps(content))
    capfd.readouterr()
    loaded = load_tokenizer(tmp_path)
    with pytest.raises(AssetError, match=f"tokenizer of {tmp_path} fails on a text .*retry-limit"):
        loaded("a" * 20000 + "b")
    assert capfd.readouterr().err == ""


def test_what_is_loaded_is_an_ordinary_tokenizer(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "a")
    loaded = copy.deepcopy(load_tokenizer(tmp_path / "a"))
    assert loaded("the cat").input_ids == tokenizer("the cat").input_ids
    loaded.save_pretrained(tmp_path / "b")
    files = ("tokenizer.json", "tokenizer_config.json")
    assert [(tmp_path / "b" / name).exists() for name in files] == [True, True]
