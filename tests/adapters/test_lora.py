"""peft adapts a compressed model as it does any other."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    Trainer,
    TrainingArguments,
)

import harness
from harness.errors import UsageError
from harness.layers.factors import CompressedLinear
from harness.layers.shapes import shape_of
from tests.helpers.saved_models import CASES, Case, compressed, inputs_of
from tests.helpers.tiny_vision_models import VISION_MODELS

LLAMA = Case("llama", "float32", "latentllm", "block-identity")
NEURONS = Case("opt", "float16", "twinroot", "block-identity")
TOWER = Case("qwen2_5_vl", "float32", "asvd-rootcov", "left", "vision")


def config(**options):
    from peft import LoraConfig

    return LoraConfig(
        **{"r": 4, "task_type": "CAUSAL_LM", "target_modules": "all-linear"} | options
    )


def adapted(model, seed=0, **options):
    """With an adapter that does something, as one that was trained."""
    from peft import get_peft_model

    model = get_peft_model(model, config(**options))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


@pytest.fixture(scope="module")
def folder(one_thread, tmp_path_factory):
    return harness.save(compressed(LLAMA), tmp_path_factory.mktemp("lora") / "saved")


@pytest.fixture
def ids():
    return inputs_of(compressed(LLAMA))["input_ids"]


@torch.no_grad()
def answers(model, **inputs):
    return model(**inputs).logits


@pytest.mark.parametrize("case", CASES[::7], ids=str)
def test_every_form_knows_its_sizes(case, one_thread):
    for module in compressed(case).model.modules():
        if isinstance(module, CompressedLinear):
            shape = shape_of(module)
            neurons = {
                "kept-rows": (shape.d_in, shape.rank),
                "kept-columns": (shape.rank, shape.d_out),
            }
            sizes = neurons.get(module.form, (shape.d_in, shape.d_out))
            assert (module.in_features, module.out_features) == sizes


@pytest.mark.parametrize("case", [LLAMA, NEURONS, TOWER], ids=str)
@pytest.mark.parametrize("opened_by", ["harness", "transformers"])
def test_all_linear_is_every_layer_but_the_head(case, opened_by, one_thread, tmp_path):
    from peft.tuners.lora.layer import Linear

    subject = compressed(case)
    saved = harness.save(subject, tmp_path / "saved")
    opener = AutoModelForImageTextToText if case.family in VISION_MODELS else AutoModelForCausalLM
    model = harness.load(saved).model if opened_by == "harness" else opener.from_pretrained(saved)
    model = adapted(model)
    original = type(subject.model)(subject.model.config)
    expected = {
        path
        for path, module in original.named_modules()
        if isinstance(module, torch.nn.Linear) and not path.endswith("lm_head")
    }
    found = {
        path
        for path, module in model.get_base_model().named_modules()
        if isinstance(module, Linear)
    }
    assert found == expected
    assert torch.isfinite(answers(model, **inputs_of(subject))).all()


@pytest.mark.parametrize(
    "names", [["q_proj", "v_proj"], ["down_proj"], "all-linear", r".*\.0\..*up_proj"]
)
def test_an_adapter_is_saved_and_read_back_to_the_last_bit(names, folder, ids, tmp_path):
    from peft import PeftModel

    model = adapted(AutoModelForCausalLM.from_pretrained(folder), target_modules=names)
    assert not torch.equal(
        answers(model, input_ids=ids), answers(harness.load(folder).model, input_ids=ids)
    )
    model.save_pretrained(tmp_path / "adapter")
    for base in (AutoModelForCausalLM.from_pretrained(folder), harness.load(folder).model):
        again = PeftModel.from_pretrained(base, tmp_path / "adapter")
        assert torch.equal(answers(again, input_ids=ids), answers(model, input_ids=ids))


def test_the_sum_is_that_of_both_paths(folder, ids):
    base = harness.load(folder).model
    layer = base.model.layers[0].self_attn.q_proj
    x = torch.randn(3, layer.in_features)
    expected = layer(x)
    wrapped = (
        adapted(base, target_modules=["q_proj"]).get_base_model().model.layers[0].self_attn.q_proj
    )
    A, B = wrapped.lora_A["default"].weight, wrapped.lora_B["default"].weight
    expected = expected + wrapped.scaling["default"] * x @ A.T @ B.T
    torch.testing.assert_close(wrapped(x), expected)


def test_merging_is_refused_before_anything_changes(folder, ids):
    model = adapted(AutoModelForCausalLM.from_pretrained(folder))
    before = answers(model, input_ids=ids)
    for merge in (model.merge_and_unload, model.merge_adapter):
        with pytest.raises(UsageError, match="keep it beside the model"):
            merge()
    assert torch.equal(answers(model, input_ids=ids), before)


@pytest.mark.parametrize(
    "options", [{"init_lora_weights": "pissa"}, {"init_lora_weights": "olora"}, {"use_dora": True}]
)
def test_variants_that_need_a_dense_weight_are_refused(options, folder):
    with pytest.raises((UsageError, ValueError), match=r"dense weight|unsupported variant"):
        adapted(AutoModelForCausalLM.from_pretrained(folder), **options)


def trained(model, ids, tmp_path, **options):
    """Losses of a few steps on the same rows."""
    rows = [{"input_ids": row, "labels": row} for row in ids]
    arguments = TrainingArguments(
        str(tmp_path / "trainer"),
        max_steps=6,
        per_device_train_batch_size=len(rows),
        learning_rate=options.pop("rate"),
        lr_scheduler_type="constant",
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
        **options,
    )
    trainer = Trainer(model, arguments, train_dataset=rows)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_lora_steps_lower_the_loss_the_same_each_time(checkpointing, folder, ids, tmp_path):
    from peft import get_peft_model

    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        base = AutoModelForCausalLM.from_pretrained(folder)
        before = {name: value.clone() for name, value in base.state_dict().items()}
        model = get_peft_model(base, config())
        runs.append(trained(model, ids, tmp_path, rate=1e-2, gradient_checkpointing=checkpointing))
        after = {
            name.replace(".base_layer", ""): value
            for name, value in base.state_dict().items()
            if "lora_" not in name
        }
        assert after.keys() == before.keys()
        assert all(torch.equal(after[name], before[name]) for name in before)
    assert runs[0] == runs[1]
    assert runs[0][-1] < 0.98 * runs[0][0]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_factors_train_as_weights_do(checkpointing, folder, ids, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(folder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = trained(model, ids, tmp_path, rate=1e-3, gradient_checkpointing=checkpointing)
    assert losses[-1] < 0.98 * losses[0]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (not value.is_floating_point()), name


def test_what_harness_opens_is_frozen_until_asked(folder, ids, tmp_path):
    model = harness.load(folder).model
    factors = [module for module in model.modules() if isinstance(module, CompressedLinear)]
    assert not any(p.requires_grad for factor in factors for p in factor.parameters())
    model.requires_grad_(True)
    losses = trained(model, ids, tmp_path, rate=1e-3)
    assert losses[-1] < losses[0]
