"""Chat templates of anybody: the same text as by transformers, or the template is blamed."""

from __future__ import annotations

import copy

import pytest

from harness.errors import AssetError
from harness.models import chat_template
from harness.models.chat_template import render

TURNS = [{"role": "user", "content": "a \N{SNOWMAN} \udc80"}]
PLAIN = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
HUGE = "{{ 'x' * 10000000000 }}"
LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture
def reader(tokenizer):
    """``reader(template)``: a tokenizer that has it."""

    def make(template):
        own = copy.deepcopy(tokenizer)
        own.chat_template = template
        return own

    return make


@pytest.mark.parametrize("answers", [True, False])
def test_the_same_as_transformers(reader, answers):
    own = reader(PLAIN)
    here = own.apply_chat_template(TURNS, add_generation_prompt=answers, tokenize=False)
    assert render(own, TURNS, "m", answers=answers) == here
    assert own.apply_chat_template(TURNS, tokenize=False)  # as it was before


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for %}", "Expected"),
        ("{{ messages.nothing.more }}", "'list object' has no attribute 'nothing'"),
        ("{{ 1 // 0 }}", "division"),
        (HUGE, "more than 512 MiB of memory"),
        ("{{ 'x' * 20000000 }}", "a prompt of 20000000 characters"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ({"no": "template"}, ""),
    ],
)
def test_the_template_is_blamed(reader, template, said):
    with pytest.raises(AssetError, match=f"the chat template of m fails: .*{said}"):
        render(reader(template), TURNS, "m", answers=True)


@pytest.mark.parametrize("template", [LOOP, "{{ 9 ** (9 ** 9) }}"])
def test_one_that_does_not_end_is_ended(reader, template, monkeypatch):
    monkeypatch.setattr(chat_template, "SECONDS", 0.5)
    with pytest.raises(AssetError, match=r"does not end within 0\.5 seconds"):
        render(reader(template), TURNS, "m", answers=True)
