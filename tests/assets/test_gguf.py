from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.assets import gguf
from harness.checkpoints.resolve import resolve_model
from harness.errors import AssetError, InfrastructureError, UsageError
from tests.assets.tiny_gguf import TOKENS, random_model, write_gguf

TEXTS = ["hello hell 1212", " he\n\n\nllo\t x", "Grüße, 你好 🎉", "<|start|>he<|end|>", "a  b   c"]


def ids_and_logits(model: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.arange(48).remainder(len(TOKENS)).reshape(2, 24)
    with torch.no_grad():
        return ids, model(ids).logits


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_folder_is_the_model_the_file_was_made_from(
    tmp_path: Path, model_type: str, tied: bool
) -> None:
    original = random_model(model_type, tied=tied)
    file = write_gguf(tmp_path / "tiny.gguf", original)
    asset = resolve_model(str(file))
    model = AutoModelForCausalLM.from_pretrained(asset.folder)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) is tied
    torch.testing.assert_close(ids_and_logits(model)[1], ids_and_logits(original)[1])
    assert (asset.notes, asset.precision) == (("converted from GGUF F32",), None)


def test_quantised_weights_agree_with_the_loader_of_transformers(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "q.gguf", random_model("llama", tied=True), matrices="Q8_0")
    asset = resolve_model(str(file))
    ours = AutoModelForCausalLM.from_pretrained(asset.folder)
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=file.name, dtype=torch.float32
    )
    torch.testing.assert_close(ids_and_logits(ours)[1], ids_and_logits(theirs)[1])
    assert ours.dtype == torch.float32
    assert (asset.notes, asset.precision) == (("dequantised from GGUF Q8_0",), "GGUF Q8_0")


def test_the_tokenizer_agrees_with_that_of_transformers(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", random_model("llama", tied=True))
    ours = AutoTokenizer.from_pretrained(resolve_model(str(file)).folder)
    theirs = AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name)
    for text in TEXTS:
        assert ours(text).input_ids == theirs(text).input_ids
        assert ours.decode(ours(text).input_ids) == text


def test_nothing_beside_the_file_is_read(tmp_path: Path) -> None:
    """Transformers would take the tokenizer from there, and its template."""
    file = write_gguf(tmp_path / "tiny.gguf", random_model("qwen2", tied=True))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / name).write_text("damaged")
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(str(file)).folder)
    assert tokenizer.decode(tokenizer("he").input_ids) == "he"
    assert tokenizer.chat_template != "damaged"


def test_smollm_keeps_each_digit_apart(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", random_model("llama", tied=True), pre="smollm")
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(str(file)).folder)
    assert tokenizer.convert_ids_to_tokens(tokenizer("he12 1").input_ids) == [
        "he",
        "1",
        "2",
        "Ġ",
        "1",
    ]


@pytest.mark.parametrize(("exact", "dtype"), [(True, torch.float16), (False, torch.float32)])
def test_half_precision_is_kept_where_it_loses_nothing(
    tmp_path: Path, exact: bool, dtype: torch.dtype
) -> None:
    original = random_model("llama", tied=True)
    if exact:
        original.half().float()
    file = write_gguf(tmp_path / "half.gguf", original, matrices="F16")
    folder = resolve_model(str(file)).folder
    assert AutoModelForCausalLM.from_pretrained(folder, dtype="auto").dtype == dtype


def test_the_conversion_happens_once_and_follows_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = random_model("llama", tied=True)
    file = write_gguf(tmp_path / "tiny.gguf", original)
    first = resolve_model(str(file))
    with monkeypatch.context() as patch:
        patch.setattr(gguf, "open_gguf", lambda _: pytest.fail("converted again"))
        assert resolve_model(str(file)) == first
    with torch.no_grad():
        original.lm_head.weight[0, 0] += 1
    write_gguf(file, original)
    assert resolve_model(str(file)).fingerprint != first.fingerprint


@pytest.mark.parametrize("kept", [0, 3, 10, 100, 3000, -1000, -1])
def test_a_truncated_file_is_an_asset_error_and_leaves_no_entry(
    tmp_path: Path, cache: Path, kept: int
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", random_model("llama", tied=True))
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(AssetError, match=r"tiny.gguf is truncated or not a GGUF file"):
        resolve_model(str(file))
    assert not [p for p in (cache / "models").iterdir() if p.is_dir()]


def test_a_file_is_known_by_its_ending_in_capitals_too(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", random_model("llama", tied=True))
    small = resolve_model(str(file)).fingerprint
    assert resolve_model(str(file.rename(tmp_path / "TINY.GGUF"))).fingerprint == small


def test_something_else_is_not_taken_for_a_gguf_file(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_text("<html>Not found</html>" * 100)
    with pytest.raises(AssetError, match="not a GGUF file"):
        resolve_model(str(file))


def test_an_unsupported_architecture_lists_those_supported(tmp_path: Path) -> None:
    original = random_model("llama", tied=True)
    file = write_gguf(tmp_path / "tiny.gguf", original)
    file.write_bytes(file.read_bytes().replace(b"llama", b"phi99"))
    with pytest.raises(UsageError, match=r"'phi99'.*llama, qwen2, qwen3"):
        resolve_model(str(file))


@pytest.mark.parametrize("options", [{"extra": "rope_freqs.weight"}, {"scaling": "yarn"}])
def test_scaled_rotary_positions_are_refused(tmp_path: Path, options: dict[str, str]) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", random_model("llama", tied=True), **options)
    with pytest.raises(UsageError, match="scales its rotary positions"):
        resolve_model(str(file))


def test_a_tensor_without_a_place_is_refused(tmp_path: Path) -> None:
    file = write_gguf(
        tmp_path / "tiny.gguf", random_model("llama", tied=True), extra="blk.0.attn_q.bias"
    )
    with pytest.raises(UsageError, match=r"'blk.0.attn_q.bias', which llama has no place for"):
        resolve_model(str(file))


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", random_model("llama", tied=True))
    file.write_bytes(file.read_bytes().replace(b"blk.1.ffn_up.weight", b"blk.9.ffn_up.weight"))
    with pytest.raises(AssetError, match=r"lacks the tensor 'blk.1.ffn_up.weight'"):
        resolve_model(str(file))


def test_a_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    original = random_model("llama", tied=True)
    original.model.layers[0].mlp.up_proj.weight = torch.nn.Parameter(torch.ones(32, 32))
    file = write_gguf(tmp_path / "tiny.gguf", original)
    with pytest.raises(AssetError, match=r"'blk.0.ffn_up.weight' in the shape \(32, 32\)"):
        resolve_model(str(file))


def test_a_disk_that_fills_while_saving_names_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", random_model("llama", tied=True))

    def fail(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(gguf, "save_file", fail)
    with pytest.raises(InfrastructureError, match="HARNESS_CACHE"):
        resolve_model(str(file))
