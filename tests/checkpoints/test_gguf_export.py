"""A GGUF file holds the model that it was written from: transformers and our own reader agree."""

from __future__ import annotations

import json
from dataclasses import replace

import gguf
import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

import harness
from harness.checkpoints.gguf_export import export_gguf
from harness.checkpoints.gguf_tokenizer import pre_tokenizer
from harness.errors import UsageError
from tests.helpers.saved_models import Case, compressed, inputs_of, logits, subject_of
from tests.helpers.tiny_models import words

USAGE = 2
TOLERANCE = {"f32": 1e-5, "f16": 2e-3, "q8_0": 5e-2}


def narrow(family, ranks="uniform"):
    case = Case(family, "float32", "twinroot", "block-identity", neurons="only", ranks=ranks)
    return compressed(case)


def widths_of(small):
    return [layer.rank for layer in small.compression.layers if layer.form == "kept-columns"]


def deviation(found, expected):
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize(
    ("family", "file_type"),
    [
        *((family, kind) for family in ("llama", "qwen2", "qwen3") for kind in ("f32", "f16")),
        ("llama", "q8_0"),
        ("qwen2", "q8_0"),
    ],
)
def test_what_is_read_back_is_what_was_written(family, file_type, one_thread, tmp_path):
    dense = subject_of(family)
    factors = compressed(Case(family, "float32", "latentllm", "block-identity"))
    subjects = [dense, factors, narrow(family)]
    if file_type == "q8_0":  # the width of the others is no multiple of 32
        case = Case(family, "float32", "twinroot", "block-identity", neurons="only", multiple="32")
        subjects = [compressed(case, ratio=0.1)]
    for number, subject in enumerate(subjects):
        file = export_gguf(subject, tmp_path / f"{number}.gguf", file_type)
        found = harness.load_model(str(file))
        assert deviation(logits(found), logits(subject)) < TOLERANCE[file_type]
        text = words(7, 30) + "  it's 1234\n\n naïve — "
        assert found.tokenizer(text).input_ids == subject.tokenizer(text).input_ids
        if family != "qwen3":  # whose head size transformers does not read
            plain = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=file.name)
            with torch.no_grad():
                expected = plain(**inputs_of(subject)).logits
            assert deviation(expected, logits(subject)) < TOLERANCE[file_type]
    if file_type == "f32":
        width = found.model.config.intermediate_size
        assert {width} == {*widths_of(subjects[-1])}
        parameters = sum(p.numel() for p in found.model.parameters())
        assert parameters == subjects[-1].compression.parameters


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_blocks_of_unequal_widths_have_an_architecture_of_their_own(family, one_thread, tmp_path):
    small = narrow(family, ranks="fisher")
    widths = widths_of(small)
    assert len({*widths}) > 1
    reader = gguf.GGUFReader(export_gguf(small, tmp_path / "small.gguf", "f32"))
    assert reader.fields["general.architecture"].contents() == "deci"
    assert reader.fields["deci.feed_forward_length"].contents() == widths
    tensors = {tensor.name: torch.tensor(tensor.data) for tensor in reader.tensors}
    for index, width in enumerate(widths):
        mlp = small.model.model.layers[index].mlp
        assert tensors[f"blk.{index}.ffn_up.weight"].shape[0] == width
        assert torch.equal(tensors[f"blk.{index}.ffn_down.weight"], mlp.down_proj.weight)
        heads = tensors[f"blk.{index}.attn_k.weight"].unflatten(0, (2, -1, 2))
        expected = small.model.model.layers[index].self_attn.k_proj.weight.unflatten(0, (2, 2, -1))
        assert torch.equal(heads, expected.transpose(1, 2))


def test_a_model_on_disk_is_written_the_same(one_thread, tmp_path):
    small = compressed(Case("llama", "bfloat16", "latentllm", "block-identity"))
    saved = harness.save(small, tmp_path / "saved")
    one = export_gguf(small, tmp_path / "one.gguf")
    two = export_gguf(harness.load(saved, offload=True), tmp_path / "two.gguf")
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("case", "file_type", "said"),
    [
        (
            Case("opt", "float32", "svd", "left"),
            "f16",
            "models of type 'opt' cannot be written as GGUF",
        ),
        (Case("llava", "float32", "svd", "left"), "f16", "only llama, qwen2, qwen3 can"),
        (Case("qwen2-sliding", "float32", "svd", "left"), "f16", "attention to a window"),
        (
            Case("qwen3", "float32", "twinroot", "left", neurons="only", ranks="fisher"),
            "f16",
            r"\d+ to \d+ neurons, .* qwen3 model has them; pass --dense, or compress with --ranks",
        ),
        (
            Case("llama", "float32", "twinroot", "left", neurons="only"),
            "q8_0",
            r"down_proj.weight has rows of \d+ numbers, .* compress with --multiple 32, or pass",
        ),
        (
            Case("qwen3", "float32", "svd", "left"),
            "q8_0",
            "o_proj.weight has rows of 48 numbers, of which q8_0 stores 32 together; pass --type",
        ),
        (
            Case("llama", "float32", "svd", "left", bias_update="always"),
            "f16",
            "q_proj got a bias, for which a llama model has no place",
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_has_no_place_is_refused_before_anything_is_written(
    case, file_type, said, one_thread, tmp_path
):
    with pytest.raises(UsageError, match=said):
        export_gguf(compressed(case), tmp_path / "x.gguf", file_type)
    assert not [*tmp_path.iterdir()]


def test_numbers_too_large_for_half_precision_leave_no_file(one_thread, tmp_path):
    subject = subject_of("llama")
    with torch.no_grad():
        subject.model.model.layers[1].mlp.up_proj.weight[0, 0] = 1e6
    with pytest.raises(UsageError, match=r"layers.1.mlp.up_proj.*too large.*--type f32"):
        export_gguf(subject, tmp_path / "x.gguf")
    assert not [*tmp_path.iterdir()]
    assert export_gguf(subject, tmp_path / "x.gguf", "f32").is_file()


def test_scaled_rotary_positions_are_refused(one_thread, tmp_path):
    subject = subject_of("llama")
    subject.model.config.rope_parameters |= {"rope_type": "linear", "factor": 2.0}
    with pytest.raises(UsageError, match="scaled rotary positions cannot be written"):
        export_gguf(subject, tmp_path / "x.gguf")


QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split(pattern):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def content_of(splitting, **options):
    made = Tokenizer(models.BPE(**options))
    made.pre_tokenizer = splitting
    return json.loads(made.to_str())


@pytest.mark.parametrize(
    ("name", "splitting", "options"),
    [
        ("gpt-2", pre_tokenizers.ByteLevel(add_prefix_space=False), {}),
        (
            "smollm",
            pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Digits(individual_digits=True),
                    pre_tokenizers.ByteLevel(add_prefix_space=False),
                ]
            ),
            {},
        ),
        ("qwen2", split(QWEN2), {}),
        ("llama-bpe", split(QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")), {"ignore_merges": True}),
    ],
)
def test_the_way_a_text_is_split_has_its_name(name, splitting, options):
    assert pre_tokenizer(content_of(splitting, **options)) == name


@pytest.mark.parametrize(
    ("splitting", "options"),
    [
        (pre_tokenizers.ByteLevel(add_prefix_space=True), {}),
        (pre_tokenizers.ByteLevel(add_prefix_space=False), {"byte_fallback": True}),
        (pre_tokenizers.Whitespace(), {}),
        (split(QWEN2 + "|x"), {}),
        (split(QWEN2), {"ignore_merges": True}),
        (None, {}),
    ],
)
def test_another_way_is_refused(splitting, options):
    made = Tokenizer(models.BPE(**options))
    if splitting:
        made.pre_tokenizer = splitting
    with pytest.raises(UsageError, match="none of gpt-2, smollm, qwen2, llama-bpe"):
        pre_tokenizer(json.loads(made.to_str()))


def test_a_word_piece_tokenizer_is_refused(one_thread, tmp_path):
    subject = subject_of("llama")
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")))
    with pytest.raises(UsageError, match="splits texts in a way"):
        export_gguf(replace(subject, tokenizer=other), tmp_path / "x.gguf")
    assert not [*tmp_path.iterdir()]


def test_the_command_writes_what_it_says(cli, model_folder, one_thread, tmp_path):
    small = narrow("llama")
    saved, file = harness.save(small, tmp_path / "saved"), tmp_path / "small.gguf"
    code, out, _ = cli("export", saved, "--gguf", file)
    assert code == 0
    assert out.startswith(f"{file}: ")
    assert deviation(logits(harness.load_model(str(file))), logits(small)) < TOLERANCE["f16"]
    for more, said in {
        ("--gguf", file): f"{file} exists; pass another file",
        ("--gguf", tmp_path / "x.bin"): "does not end in .gguf",
        ("--dense", tmp_path / "x", "--type", "f16"): "leave it out without --gguf",
        ("--gguf", tmp_path / "x.gguf", "--type", "q8_0"): "compress with --multiple 32",
        (): "one of the arguments --dense --narrow --gguf is required",
    }.items():
        code, _, errors = cli("export", saved, *more)
        assert (code, errors.count("\n")) == (USAGE, 1), errors
        assert said in errors
    code, out, _ = cli("export", saved, "--narrow", tmp_path / "narrow")
    assert (code, out) == (0, f"{tmp_path / 'narrow'}: an ordinary checkpoint\n")
    plain = harness.load_model(str(tmp_path / "narrow")).model
    assert {plain.config.intermediate_size} == {*widths_of(small)}
    dense = tmp_path / "dense.gguf"
    assert cli("export", model_folder("qwen2"), "--gguf", dense, "--type", "f32")[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        *("saved", "narrow", "small.gguf", "dense.gguf")
    }
