"""Talking to a model: the template, pieces as they form, interruption, and a piped command."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
import torch

import harness
from harness.errors import NonFiniteError, UsageError
from harness.models.conversation import Conversation
from harness.models.generation import answer
from harness.models.prompt import Prompt
from tests.helpers.saved_models import Case, compressed
from tests.helpers.tiny_vision_models import CHAT, noise


def ignore(_):
    """Nobody listens."""


@pytest.fixture
def talker(tiny):
    subject = tiny("llama", torch.float32)
    subject.tokenizer.chat_template = CHAT.replace(
        "{% for c in m['content'] %}{% if c['type'] == 'image' %}IMAGE{% else %}"
        "{{ c['text'] }}{% endif %}{% endfor %}",
        "{{ m['content'] }}",
    )
    yield subject
    subject.tokenizer.chat_template = None


@pytest.fixture
def prompts(monkeypatch):
    """Prompts that models were given, decoded."""
    given = []
    build = Conversation._inputs

    def spy(self, *rest):
        inputs = build(self, *rest)
        given.append(self.subject.tokenizer.decode(inputs["input_ids"][0]))
        return inputs

    monkeypatch.setattr(Conversation, "_inputs", spy)
    return given


def test_turns_follow_each_other_in_the_template(talker, prompts):
    talk = Conversation(talker, system="be a cat", max_new_tokens=4)
    first = talk.answer("the dog", ignore)
    talk.answer("the bird", ignore)
    assert prompts == [
        "SYSTEM: be a cat USER: the dog ASSISTANT:",
        f"SYSTEM: be a cat USER: the dog ASSISTANT: {first.strip()} USER: the bird ASSISTANT:",
    ]
    talk.clear()
    assert talk.answer("the dog", ignore) == first
    assert prompts[2] == prompts[0]


def test_pieces_arrive_while_the_answer_forms(talker):
    pieces = []
    whole = Conversation(talker, max_new_tokens=20).answer("the dog", pieces.append)
    assert len(pieces) > 1
    assert "".join(pieces) == whole


def test_it_says_what_generation_says(talker):
    ids = talker.tokenizer("USER: the dog ASSISTANT:", return_tensors="pt").input_ids
    new = talker.model.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :]
    expected = talker.tokenizer.decode(new, skip_special_tokens=True)
    assert Conversation(talker, max_new_tokens=8).answer("the dog", ignore) == expected


def test_temperature_samples_by_the_seed(talker):
    def say(temperature, seed):
        torch.manual_seed(seed)
        return Conversation(talker, None, 12, temperature).answer("the dog", ignore)

    assert say(0.0, 1) == say(0.0, 2)
    assert say(1.5, 1) == say(1.5, 1)
    assert say(1.5, 1) != say(1.5, 2)


def test_an_interrupted_answer_stays_in_the_conversation(talker, prompts):
    said = []

    def listen(piece):
        said.append(piece)
        if len(said) == 2:
            raise KeyboardInterrupt

    talk = Conversation(talker, max_new_tokens=30)
    with pytest.raises(KeyboardInterrupt):
        talk.answer("the dog", listen)
    talk.answer("the bird", ignore)
    assert f"ASSISTANT: {''.join(said).strip()} USER: the bird" in prompts[1]
    assert len(said) == 2


def test_without_a_template_each_text_is_continued(tiny, prompts):
    talk = Conversation(tiny("opt", torch.float32), max_new_tokens=3)
    assert not talk.has_template
    talk.answer("the dog", ignore)
    talk.answer("the bird", ignore)
    assert prompts == ["the dog", "the bird"]


def test_a_conversation_longer_than_the_model_reads_is_refused(talker):
    talk = Conversation(talker, max_new_tokens=10)
    with pytest.raises(UsageError, match=r"model reads 64; start anew with /clear"):
        talk.answer("the cat " * 70, ignore)
    talk.answer("the cat", ignore)


def test_images_are_seen(one_thread):
    subject = compressed(Case("llava", "bfloat16", "svd", "left"))
    picture = noise(0)
    talk = Conversation(subject, max_new_tokens=6)
    with torch.no_grad():
        (expected,) = answer(subject, [Prompt("the dog", (picture,))], 6)
    assert talk.answer("the dog", ignore, [picture]).strip() == expected
    talk.answer("the bird", ignore)
    with pytest.raises(UsageError, match="reads text only"):
        Conversation(compressed(Case("opt", "float32", "svd", "left"))).answer(
            "the dog", ignore, [picture]
        )


def test_nan_is_no_answer(talker):
    talker.model.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(NonFiniteError):
        Conversation(talker).answer("the dog", ignore)


@pytest.fixture
def piped(cli, monkeypatch):
    def call(text, *arguments):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return cli("chat", *arguments)

    return call


@pytest.mark.parametrize("more", [[], ["--offload"]])
def test_the_command_answers_each_line_of_a_pipe(piped, saved, more):
    code, out, errors = piped(
        "the dog\n\n/clear\nthe dog\n/exit\nthe bird\n", saved, "--max-new-tokens", "5", *more
    )
    subject = harness.load(saved)
    said = Conversation(subject, max_new_tokens=5).answer("the dog", ignore)
    assert code == 0
    assert out == f"{said}\n{said}\n"
    assert "no chat template" in errors


def test_the_command_runs_quicker_forms_unless_told_not_to(piped, saved, monkeypatch):
    streamlined = []
    monkeypatch.setattr(
        "harness.runtime.streamline.streamline", lambda model, _: streamlined.append(model)
    )
    assert piped("the dog\n", saved, "--max-new-tokens", "1", "--no-streamline")[0] == 0
    assert not streamlined
    assert piped("the dog\n", saved, "--max-new-tokens", "1")[0] == 0
    assert len(streamlined) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature", "-1"], "--temperature: -1.0 is outside its range: 0 to"),
        (["--max-new-tokens", "0"], "--max-new-tokens: 0 is outside its range: 1 to"),
        (["--image", "absent.png"], "there is no image absent.png"),
        (["--device", "abacus"], "device 'abacus' cannot be used"),
    ],
)
def test_wrong_options_of_the_command(arguments, message, piped, saved):
    code, _, errors = piped("the dog\n", saved, *arguments)
    assert code == 2
    assert errors.startswith("harness: error: ")
    assert message in errors


def test_a_file_that_is_no_image(piped, saved, tmp_path):
    (tmp_path / "note.txt").write_text("no image")
    code, _, errors = piped("the dog\n", saved, "--image", tmp_path / "note.txt")
    assert code == 2
    assert "is no image that can be read" in errors


def test_a_person_may_interrupt_and_go_on(cli, saved, monkeypatch):
    lines = iter(["the dog", "the bird", "/exit"])
    asked = []
    say = Conversation.answer

    def answer_or_interrupt(self, text, *rest):
        asked.append(text)
        if text == "the dog":
            raise KeyboardInterrupt
        return say(self, text, *rest)

    monkeypatch.setattr(Conversation, "answer", answer_or_interrupt)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    code, out, _ = cli("chat", saved, "--max-new-tokens", "3")
    assert code == 0
    assert asked == ["the dog", "the bird"]
    assert len(out.splitlines()) == 2
