"""What cannot be served ends in one line that says what to do."""

from __future__ import annotations

import json

import pytest
import torch
from harness_vllm.config import HarnessConfig
from harness_vllm.coordinates import Coordinates
from harness_vllm.layout import StoredLayer, read_layers
from harness_vllm.part import Part
from harness_vllm.version import require_supported

LAYER = {"path": "model.layers.0.mlp.up_proj", "form": "plain", "d_in": 4, "d_out": 4, "rank": 2}
LAYOUT = {
    "quant_method": "harness",
    "format": 2,
    "layers": [LAYER | {"bias": False, "heads": None}],
}
OLDER = {
    "model_type": "harness",
    "quantization_config": LAYOUT | {"format": 1, "model_type": "opt"},
}


@pytest.mark.parametrize("version", ["0.31.9", "0.33.0", "1.0", "dev"])
def test_another_vllm(version):
    with pytest.raises(ValueError, match=rf"with vLLM 0\.32, here is {version}; install"):
        require_supported(version)


@pytest.mark.parametrize("version", ["0.32.0", "0.32.1+cpu"])
def test_this_vllm(version):
    require_supported(version)


def test_an_earlier_folder(tmp_path):
    from vllm.config import ModelConfig
    from vllm.plugins import load_general_plugins

    load_general_plugins()
    (tmp_path / "config.json").write_text(json.dumps(OLDER))
    with pytest.raises(ValueError, match="saved in format 1, harness-vllm reads 2; open it with"):
        ModelConfig(str(tmp_path))


def test_a_later_folder():
    with pytest.raises(ValueError, match="format 3, harness-vllm reads 2; upgrade"):
        HarnessConfig.override_quantization_method(LAYOUT | {"format": 3}, None)


def test_other_methods_are_none_of_ours():
    assert HarnessConfig.override_quantization_method({"quant_method": "gptq"}, None) is None


@pytest.mark.parametrize("layers", [None, [{}], [LAYER], ["x"]])
def test_a_damaged_layout(layers):
    with pytest.raises(ValueError, match=r"config\.json of the saved model is damaged"):
        read_layers(LAYOUT | {"layers": layers})


def part(form="plain", d_out=4, outputs=None, **more):
    stored = StoredLayer(form, 4, d_out, 2, bias=False, **more)
    whole = Coordinates.span(0, 4, 4)
    return Part("up", stored, whole, outputs or whole, torch.float32, adds_bias=True)


def test_an_unknown_form():
    with pytest.raises(ValueError, match="unknown form 'ternary'; upgrade harness-vllm"):
        part("ternary")


def test_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match="up is 5 x 4, the architecture wants 4 x 4"):
        part(d_out=5)


def test_tensors_that_are_missing():
    one = part()
    one.put("A", torch.zeros(2, 4))
    with pytest.raises(ValueError, match="lacks B of up; copy it again"):
        one.finished()


def test_tensors_of_no_use():
    with pytest.raises(ValueError, match=r"no use for up\.weight"):
        part().put("weight", torch.zeros(4, 4))


def test_fewer_neurons_than_ranks():
    narrow = part("kept-rows", outputs=Coordinates.span(0, 1, 4))
    narrow.put("weight", torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"up cannot be split .*keeps 2 neurons.*parallel-size 1"):
        narrow.put("kept", torch.tensor([1, 3]))
