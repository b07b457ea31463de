"""vLLM writes the tokens that transformers writes, from as many bytes as are stored."""

from __future__ import annotations

import pytest
from serving import REFERENCES, cases, disagreements, served

CASES = cases("")


def test_there_are_references():
    assert CASES, f"no references in {REFERENCES}; write them with references.py"


def resident_bytes(model):
    """Of all weights, each once; those that vLLM has packed count as what they were packed from."""
    from harness_vllm.matrix import Matrix
    from vllm.model_executor.layers.linear import LinearBase

    tensors = {t.untyped_storage().data_ptr(): t for t in model.state_dict(keep_vars=True).values()}
    held = sum(t.numel() * t.element_size() for t in tensors.values())
    for module in model.modules():
        if isinstance(module, Matrix) and not module.weight.numel():
            held += module.bytes
        elif isinstance(module, LinearBase) and not hasattr(module, "parts"):
            width = getattr(module, "input_size_per_partition", module.input_size)
            held += sum(module.output_partition_sizes) * width * module.weight.element_size()
    return held


@pytest.mark.parametrize("name", CASES)
def test_greedy_tokens_and_bytes(name):
    if "sees" in name:
        pytest.importorskip("torchvision", reason="vLLM's models that see import it")
    with served(name) as llm:
        assert disagreements(llm, name) == []
        (held,) = llm.apply_model(resident_bytes)
        stored = sum(file.stat().st_size for file in (REFERENCES / name).glob("*.safetensors"))
        assert held <= 1.02 * stored


@pytest.mark.parametrize("name", cases("every-form"))
def test_two_ranks(name, monkeypatch):
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with served(name, tensor_parallel_size=2) as llm:
        assert disagreements(llm, name) == []
