"""A ``config.json`` that anybody may have written: refused at once, nothing run or fetched."""

from __future__ import annotations

import json
import shutil
import socket
from contextlib import suppress

import pytest

from harness.checkpoints.load import load_model
from harness.checkpoints.resolve import resolve_model
from harness.errors import AssetError
from harness.profile.known import configuration


@pytest.fixture
def changed(model_folder, tmp_path):
    """``changed(**entries)``: a Llama with these entries in its configuration."""

    def change(file: str = "config.json", **entries: object):
        folder = tmp_path / "model"
        shutil.copytree(model_folder("llama"), folder, dirs_exist_ok=True)
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))
        return folder

    return change


@pytest.fixture(autouse=True)
def unconnected(monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection is attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"num_hidden_layers": 1000000}, "num_hidden_layers is 1000000, but the weights hold"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0, which is no count"),
        ({"hidden_size": -1}, "hidden_size is -1, which is no count"),
        ({"intermediate_size": float("nan")}, "intermediate_size is nan, which is no count"),
        ({"head_dim": 10**9}, "head_dim is 1000000000, but the weights hold"),
        ({"vocab_size": 10**30}, r"vocab_size is 1e\+30, but the weights hold"),
        ({"vision_config": {"depth": 10**6}}, "vision_config.depth is 1000000, but the weights"),
        ({"max_position_embeddings": 10**12}, "max_position_embeddings is .*more than any"),
        ({"attn_implementation": "someone/kernel"}, "'someone/kernel', and code of a hub is"),
        ({"_attn_implementation": {"": "a/b"}}, "'a/b', and code of a hub is never fetched"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"quantised \(gptq\), which is not"),
        ({"quantization_config": {"load_in_4bit": True}}, r"\(bitsandbytes\), which is not read"),
        ({"auto_map": {"AutoConfig": "own.Own"}}, "auto_map names program code of the model's own"),
    ],
    ids=str,
)
def test_refused_before_anything_is_built(changed, entries, said):
    folder = changed(**entries)
    for opened in (resolve_model, configuration):
        with pytest.raises(AssetError, match=f"config.json: .*{said}"):
            opened(str(folder))


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000, '"\\ud800"'], ids=len)
def test_no_json_object(changed, content):
    folder = changed()
    (folder / "config.json").write_text(content)
    with pytest.raises(AssetError, match=r"config.json is damaged"):
        resolve_model(str(folder))


@pytest.mark.parametrize("shard", ["../model.safetensors", "/model.safetensors", 7, ["x"]])
def test_weights_that_lie_elsewhere(changed, shard):
    folder = changed()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": shard}}))
    with pytest.raises(AssetError, match=r"index\.json (names|.*no list of weights)"):
        resolve_model(str(folder))


def test_more_than_the_weights_hold_is_refused_before_memory_is_taken(changed):
    with pytest.raises(AssetError, match="more than 768000 parameters, the weights hold 2"):
        load_model(str(changed(vocab_size=24000)))


def test_code_beside_a_model_is_not_run(changed, tmp_path):
    ran = tmp_path / "ran"
    folder = changed("tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", None]})
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: ...\n")
    with suppress(AssetError):
        load_model(str(folder))
    assert not ran.exists()


def test_a_pickle_that_would_run_code(changed, tmp_path):
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return open, (str(ran), "w")

    import torch

    folder = changed()
    (folder / "model.safetensors").unlink()
    torch.save({"x": Bomb()}, folder / "pytorch_model.bin")
    with pytest.raises(AssetError, match="could run code and is not opened") as caught:
        load_model(str(folder))
    assert "weights_only" not in str(caught.value)
    assert not ran.exists()
