"""Gradient moments of whole models against autograd on every output at once."""

from __future__ import annotations

import itertools

import pytest
import torch
from scipy.linalg import hadamard
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from harness.algebra.fisher import probe
from harness.calibration.prompts import draw_prompts
from harness.calibration.text import TextCalibration
from harness.errors import InfrastructureError, NonFiniteError, UsageError
from harness.families.family import family_of
from harness.layers.fused import Part
from harness.layers.roles import SITE_OF_ROLE
from harness.models.generation import answer_length, encode
from harness.models.prompt import PromptSource
from harness.records.spec import CalibrationSpec
from harness.statistics.checkpointing import KeptActivations
from harness.statistics.collect import collect
from harness.statistics.disk_cache import load, save
from harness.statistics.gradients import collect_gradients
from harness.statistics.moments import MomentAccumulator
from harness.support.progress import silent
from tests.helpers.tiny_models import MODELS, random_calibration, random_model, stored_inputs
from tests.helpers.tiny_vision_models import PROMPTS, VISION_MODELS, tiny_vision_model

ROOM = "harness.statistics.checkpointing.ROOM"


@pytest.fixture(params=MODELS)
def name(request, one_thread):
    return request.param


def blocks_of(model):
    return family_of(model.config).blocks(model)


def gather(model, calibration):
    found = collect_gradients(model, blocks_of(model), calibration, silent)
    return [seen.gradients for seen in found]


@pytest.fixture
def same_signs(monkeypatch):
    """Every position is probed with the same signs, so that the oracle knows them."""
    monkeypatch.setattr(
        "harness.statistics.gradients.random_signs",
        lambda positions, vocabulary, _: alternating(vocabulary).expand(positions, -1),
    )


def alternating(vocabulary):
    return (1 - 2 * (torch.arange(vocabulary) % 3 % 2)).to(torch.int8)


def outputs_and_logits(model, paths, inputs):
    """What each module gives in one pass, to be differentiated by, and what the model predicts."""
    outputs = {}

    def keep(path):
        def hook(_, __, output):
            if not output.requires_grad:
                output.requires_grad_()
            outputs[path] = output

        return hook

    handles = [model.get_submodule(path).register_forward_hook(keep(path)) for path in paths]
    logits = model(**inputs, use_cache=False).logits
    for handle in handles:
        handle.remove()
    return outputs, logits


def stored_gradients(model, paths, inputs, wanted):
    """What comes back to each module's output from the predictions of the ``wanted`` tokens.

    Differentiates the whole graph at once, with ``same_signs``; ``wanted: [batch, length]``.
    """
    outputs, logits = outputs_and_logits(model, paths, inputs)
    signs = alternating(logits.shape[-1])[None]
    loss = sum(
        probe(logits[row, place - 1, None].detach(), signs)[0] @ logits[row, place - 1]
        for row, place in wanted.nonzero().tolist()
        if place > 0 and inputs["attention_mask"][row, place - 1]
    )
    found = torch.autograd.grad(loss, list(outputs.values()), allow_unused=True)
    return {
        path: torch.zeros_like(output) if gradient is None else gradient
        for (path, output), gradient in zip(outputs.items(), found, strict=True)
    }


def assert_moments(moments, g, tolerance=1e-5):
    """Norms and losses of transformers compute in float32."""
    assert moments.count == len(g)
    scale = float((g.T @ g / len(g)).abs().max())
    close = {"rtol": tolerance, "atol": tolerance * scale}
    torch.testing.assert_close(moments.second, g.T @ g / len(g), **close)
    torch.testing.assert_close(moments.mean, g.mean(0), rtol=tolerance, atol=tolerance * scale**0.5)


def test_moments_equal_those_of_all_gradients_at_once(name, same_signs):
    model, calibration = random_model(name), random_calibration(samples=3, length=9)
    language = family_of(model.config).language
    paths = [f"{language.blocks}.{i}.{path}" for i in range(2) for path in language.layers.values()]
    inputs = {"input_ids": calibration.input_ids, "attention_mask": calibration.attention_mask}
    expected = stored_gradients(model, paths, inputs, calibration.attention_mask)
    for index, seen in enumerate(gather(model, calibration)):
        assert seen.keys() == language.layers.keys()
        for role, path in language.layers.items():
            g = expected[f"{language.blocks}.{index}.{path}"]
            assert_moments(seen[role], g.flatten(0, -2))


def test_on_average_the_moments_are_those_of_all_labels(name, monkeypatch):
    """The exact Fisher information: every label of every prediction, weighed by its probability.

    The average over the rows of a Hadamard matrix is that over all signs of all predictions.
    """
    model = random_model(name)
    model.lm_head = nn.Linear(model.lm_head.in_features, 16).to(model.lm_head.weight)
    one = random_calibration(samples=1, length=5)
    language = family_of(model.config).language
    paths = [f"{language.blocks}.{i}.{path}" for i in range(2) for path in language.layers.values()]
    outputs, logits = outputs_and_logits(model, paths, {"input_ids": one.input_ids})
    scores = logits[0].log_softmax(-1)
    exact = dict.fromkeys(paths, 0)
    for position, label in itertools.product(range(4), range(16)):
        score = scores[position, label]
        found = torch.autograd.grad(score, [outputs[path] for path in paths], retain_graph=True)
        for path, g in zip(paths, found, strict=True):
            tokens = g.flatten(0, -2)
            exact[path] = exact[path] + score.exp().detach() * tokens.T @ tokens / 5
    rows = iter(torch.from_numpy(hadamard(64)).to(torch.int8).view(64, 4, 16))
    monkeypatch.setattr("harness.statistics.gradients.random_signs", lambda *_: next(rows))
    ids = one.input_ids.expand(64, -1)
    for index, seen in enumerate(gather(model, TextCalibration(ids, ids * 0 + 1, one.facts))):
        for role, path in language.layers.items():
            expected = exact[f"{language.blocks}.{index}.{path}"]
            scale = float(expected.abs().max())
            torch.testing.assert_close(seen[role].second, expected, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_neither_counted_nor_predicted(name, side, same_signs):
    model, lengths = random_model(name), (3, 8)
    rows = [random_calibration(1, length, seed=length).input_ids[0] for length in lengths]
    ids, mask = torch.zeros(2, 8, dtype=torch.long), torch.zeros(2, 8, dtype=torch.long)
    for row, tokens in enumerate(rows):
        place = slice(8 - len(tokens), 8) if side == "left" else slice(len(tokens))
        ids[row, place], mask[row, place] = tokens, 1
    facts = random_calibration().facts
    found = gather(model, TextCalibration(ids, mask, facts))
    alone = [gather(model, TextCalibration(r[None], torch.ones_like(r[None]), facts)) for r in rows]
    for index, seen in enumerate(found):
        for role, moments in seen.items():
            parts = [one[index][role] for one in alone]
            assert moments.count == sum(lengths)
            total = sum(part.count * part.second for part in parts) / sum(lengths)
            scale = float(total.abs().max())
            torch.testing.assert_close(moments.second, total, rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.parametrize("vision", VISION_MODELS)
def test_only_answers_are_predicted_and_images_are_differentiated(vision, one_thread, same_signs):
    subject = tiny_vision_model(vision)
    blocks = subject.family.blocks(subject.model, "all")
    source = PromptSource("questions", PROMPTS[:3], "0" * 64)
    spec = CalibrationSpec(text="questions", samples=3, length=None, sampling="prompts")
    calibration = draw_prompts(source, subject, spec)
    back = collect_gradients(subject.model, blocks, calibration, silent)
    found = [seen.gradients for seen in back]
    paths = {
        f"{block.name}.{block.stack.path(role)}": block
        for block in blocks
        for role in block.stack.layers
    }
    seen = {path: [] for path in paths}
    for prompt in calibration.prompts:
        inputs = encode(subject, [prompt])
        text = subject.processor.batch_decode(inputs["input_ids"])[0]
        assert text.rstrip().endswith(prompt.answer)
        wanted = torch.zeros_like(inputs["input_ids"])
        wanted[:, -answer_length(subject, prompt) :] = 1
        answer = subject.tokenizer.decode(inputs["input_ids"][wanted.bool()])
        assert answer.strip() == prompt.answer
        for path, g in stored_gradients(subject.model, paths, inputs, wanted).items():
            seen[path].append(g.flatten(0, -2))
    for block, moments in zip(blocks, found, strict=True):
        for role, layer in block.stack.layers.items():
            g = torch.cat(seen[f"{block.name}.{block.stack.path(role)}"])
            if isinstance(layer, Part):
                g = g.chunk(layer.count, -1)[layer.index]
            if bool(g.any()):
                assert_moments(moments[role], g, 1e-4)
            else:
                # LLaVA does not read the last block of its tower.
                assert not moments[role].second.any()
                assert moments[role].second.shape == (g.shape[1], g.shape[1])


@pytest.mark.parametrize("room", [0, 1 << 30])
def test_collect_adds_gradients_only_on_demand(name, room, monkeypatch):
    """What is watched on the way there is not watched again where it is computed again."""
    monkeypatch.setattr(ROOM, room)
    model, calibration = random_model(name), random_calibration()
    options = {"batch_size": 1, "keep_mlp_tokens": True, "track": silent}
    plain = collect(model, blocks_of(model), calibration, **options)
    options["batch_size"] = 4
    both = collect(model, blocks_of(model), calibration, gradients=True, **options)
    assert all(seen.backward is None for seen in plain)
    for one, other, expected in zip(plain, both, gather(model, calibration), strict=True):
        for site, moments in one.moments.items():
            assert moments.count == other.moments[site].count
            assert torch.equal(moments.second, other.moments[site].second)
        assert torch.equal(one.mlp_tokens, other.mlp_tokens)
        for role, moments in expected.items():
            assert torch.equal(moments.second, other.backward.gradients[role].second)


def test_agreement_is_that_of_each_sample_on_its_own(name):
    model, calibration = random_model(name), random_calibration(samples=4, length=11)
    options = {"batch_size": 3, "keep_mlp_tokens": False, "track": silent}
    found = collect(model, blocks_of(model), calibration, gradients=True, **options)
    language = family_of(model.config).language
    for index, seen in enumerate(found):
        assert seen.backward.confirmed.keys() == {*SITE_OF_ROLE.values(), *language.layers}
        for role, path in language.layers.items():
            full = f"{language.blocks}.{index}.{path}"
            samples = [stored_inputs(model, full, ids[None]) for ids in calibration.input_ids]
            alone = MomentAccumulator(samples[0].shape[-1], torch.device("cpu"), compared=True)
            for x in samples:
                alone.add(x.flatten(0, -2))
            confirmed = seen.backward.confirmed[SITE_OF_ROLE[role]]
            assert confirmed == pytest.approx(alone.confirmed(), abs=1e-6)


@pytest.mark.parametrize("room", [0, 1 << 30])
def test_influence_is_that_of_each_token_on_its_own(name, room, same_signs, monkeypatch):
    monkeypatch.setattr(ROOM, room)
    model, calibration = random_model(name), random_calibration(samples=3, length=9)
    language = family_of(model.config).language
    paths = [f"{language.blocks}.{i}.{language.layers['down']}" for i in range(2)]
    inputs = {"input_ids": calibration.input_ids, "attention_mask": calibration.attention_mask}
    expected = stored_gradients(model, paths, inputs, calibration.attention_mask)
    found = collect_gradients(model, blocks_of(model), calibration, silent)
    for path, seen in zip(paths, found, strict=True):
        neurons = [stored_inputs(model, path, ids[None]) for ids in calibration.input_ids]
        back = expected[path].flatten(0, -2) @ model.get_submodule(path).weight.detach()
        carried = torch.cat([one.flatten(0, -2) for one in neurons])
        influence = (carried * back).square().mean(0)
        torch.testing.assert_close(
            seen.influence, influence, rtol=1e-4, atol=1e-6 * float(influence.max())
        )


def test_gradients_survive_the_disk(tmp_path):
    model, calibration = random_model("qwen3"), random_calibration()
    blocks = collect(
        model,
        blocks_of(model),
        calibration,
        batch_size=4,
        keep_mlp_tokens=True,
        gradients=True,
        track=silent,
    )
    origin = {"weights": "x"}
    save(blocks, origin, tmp_path / "file")
    for pair in zip(blocks, load(tmp_path / "file", origin, model.device), strict=True):
        one, other = (block.backward for block in pair)
        assert one.confirmed == other.confirmed
        assert torch.equal(one.influence, other.influence)
        assert one.gradients.keys() == other.gradients.keys()
        for role, moments in one.gradients.items():
            assert moments.count == other.gradients[role].count
            for part in ("second", "mean", "magnitude"):
                assert torch.equal(getattr(moments, part), getattr(other.gradients[role], part))


def test_the_model_is_left_as_it_was(name):
    model = random_model(name)
    parameters = list(model.parameters())
    parameters[0].requires_grad_(False)
    before = [one.requires_grad for one in parameters]
    gather(model, random_calibration(2, 8))
    broken = random_calibration(2, 8)
    broken.input_ids[-1, -1] = 10**6
    with pytest.raises(IndexError):
        gather(model, broken)
    assert [one.requires_grad for one in parameters] == before
    assert all(one.grad is None for one in parameters)
    for module in model.modules():
        assert not module._forward_hooks
        assert "forward" not in vars(module)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        for role, moments in one.items():
            assert torch.equal(moments.second, other[role].second)


def test_frozen_weights_have_gradients_at_their_outputs_too(name):
    model, calibration = random_model(name), random_calibration(2, 8)
    expected = gather(model, calibration)
    model.requires_grad_(False)
    assert_same(gather(model, calibration), expected)
    assert not any(one.requires_grad for one in model.parameters())


def test_tied_layers_are_looked_at_each_in_its_own_place():
    tied, apart = random_model("llama"), random_model("llama")
    for model in (tied, apart):
        first, second = (block.mlp.down_proj for block in model.model.layers)
        second.weight = first.weight if model is tied else nn.Parameter(first.weight.clone())
    calibration = random_calibration(2, 8)
    assert_same(gather(tied, calibration), gather(apart, calibration))


def test_gradients_that_vanish_in_float16_say_so():
    model = random_model("llama", torch.float16)
    model.model.norm.weight.data.fill_(6e-8)
    with pytest.raises(UsageError, match="no gradient at any layer; pass --dtype bfloat16"):
        gather(model, random_calibration(2, 8))


def test_gradients_that_overflow_in_float16_name_the_layer():
    model = random_model("llama", torch.float16)
    model.lm_head.weight = nn.Parameter(6e4 * torch.ones_like(model.lm_head.weight))
    model.lm_head.weight.data[::2] *= -1
    model.model.norm.weight.data.fill_(1e-6)
    expected = r"gradient at model\.layers\.1\.\S+ is NaN or infinite"
    with pytest.raises(NonFiniteError, match=expected):
        gather(model, random_calibration(2, 8))


def test_gradients_do_not_grow_with_the_calibration_and_repeat_exactly():
    model = random_model("llama")
    first, again = (gather(model, random_calibration(4, 12)) for _ in range(2))
    longer = gather(model, random_calibration(9, 20))
    for one, other, long in zip(first, again, longer, strict=True):
        for role, moments in one.items():
            assert torch.equal(moments.second, other[role].second)
            assert moments.second.shape == long[role].second.shape


@pytest.mark.parametrize(("room", "whole"), [(0, 0), (1, 1), (1 << 30, 2)])
def test_what_has_no_room_until_the_way_back_is_computed_again(monkeypatch, room, whole):
    """Weights take none; a block is kept whole or not at all."""
    monkeypatch.setattr(ROOM, room)
    model, inner, alive = random_model("llama"), [], []
    for block in blocks_of(model):
        block.module.get_submodule("mlp.up_proj").register_forward_hook(
            lambda *arguments: inner.append(StorageWeakRef(arguments[-1].untyped_storage()))
        )
    model.lm_head.register_forward_pre_hook(
        lambda *_: alive.append(sum(not one.expired() for one in inner[-2:]))
    )
    gather(model, random_calibration(3, 12))
    assert alive == [whole] * 3
    assert len(inner) == 3 * (whole + 2 * (2 - whole))
    assert all(one.expired() for one in inner)


def test_activations_take_the_room_of_their_storages(monkeypatch):
    """A block's are counted until they are as many as there is room for, each storage once."""
    model, calibration, taken = random_model("llama"), random_calibration(1, 12), []

    class Counting(KeptActivations):
        def run(self, forward, *arguments, **keywords):
            given = super().run(forward, *arguments, **keywords)
            taken.append(self._held)
            return given

    monkeypatch.setattr("harness.statistics.gradients.KeptActivations", Counting)
    gather(model, calibration)
    tokens, number = 12, 8
    inner, width = 48, 32
    # Of the MLP alone gate, its activation and up; far from all that passes through.
    assert 3 * tokens * inner * number < taken[0] < 40 * tokens * width * number
    assert taken[1] == pytest.approx(2 * taken[0], rel=0.05)


def test_room_changes_no_digit(name, monkeypatch):
    model, calibration = random_model(name), random_calibration(3, 12)
    found = []
    for room in (0, 1, 1 << 30):
        monkeypatch.setattr(ROOM, room)
        found.append(gather(model, calibration))
    assert_same(found[1], found[0])
    assert_same(found[2], found[0])


def test_a_gradient_that_is_no_number_names_the_layer():
    model = random_model("llama")
    model.model.layers[0].mlp.down_proj.register_full_backward_pre_hook(
        lambda _, gradients: (gradients[0] * float("inf"),)
    )
    expected = r"gradient at model\.layers\.0\.\S+ is NaN or infinite"
    with pytest.raises(NonFiniteError, match=expected):
        gather(model, random_calibration())


def test_a_prediction_that_is_no_number_says_so():
    model = random_model("llama")
    model.lm_head.register_forward_hook(lambda _, __, output: output * float("nan"))
    with pytest.raises(NonFiniteError, match="what the model predicts over the calibration is NaN"):
        gather(model, random_calibration())


def test_predictions_that_depend_on_no_layer_says_so():
    model = random_model("llama")
    model.model.norm.weight.data.zero_()
    with pytest.raises(UsageError, match="no gradient at any layer; pass --dtype bfloat16"):
        gather(model, random_calibration())


def test_one_token_predicts_nothing():
    with pytest.raises(UsageError, match="no gradient at any layer"):
        gather(random_model("llama"), random_calibration(3, 1))


def on_the_device(*_):
    raise torch.OutOfMemoryError("no")


def on_the_host(*_):
    torch.empty(1 << 60)


@pytest.mark.parametrize("exhaust", [on_the_device, on_the_host])
@pytest.mark.parametrize("way", ["there", "back"])
def test_a_sample_that_does_not_fit_in_memory_says_what_to_do(exhaust, way):
    model = random_model("llama")
    if way == "there":
        model.lm_head.register_forward_hook(exhaust)
    else:
        model.model.norm.register_full_backward_hook(exhaust)
    with pytest.raises(InfrastructureError, match=r"does not fit in memory .* smaller --length"):
        gather(model, random_calibration())
