"""Options of plugins: what is accepted, how it is recorded, how it is labelled."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.plugins.options import AddedLater, configure, label, spelled_out


@dataclass(frozen=True, kw_only=True)
class Config:
    junction: Literal["left", "right"] = "left"
    pairs: tuple[Literal["qk", "vo", "ud"], ...] = ("qk", "vo")
    rounds: int = 4
    damping: float = 0.01
    window: int | Literal["all"] = 10
    greedy: bool = False
    note: str | None = None


CONFIGS = st.builds(
    Config,
    junction=st.sampled_from(["left", "right"]),
    pairs=st.lists(st.sampled_from(["qk", "vo", "ud"]), max_size=3).map(tuple),
    rounds=st.integers(),
    damping=st.floats(min_value=1e-9, allow_infinity=False),
    window=st.integers() | st.just("all"),
    greedy=st.booleans(),
    note=st.none() | st.text(),
)


@given(CONFIGS)
def test_values_of_the_right_type_pass_unchanged(config):
    assert configure(Config, asdict(config), "m") == config
    assert spelled_out(config, "m") == asdict(config)


@given(CONFIGS)
def test_values_written_as_text_mean_the_same(config):
    written = {
        name: list(value) if isinstance(value, tuple) else str(value)
        for name, value in asdict(config).items()
        if value is not None
    }
    assert configure(Config, written, "m") == config


@given(CONFIGS)
def test_a_label_names_exactly_what_differs_from_the_default(config):
    changed = {
        field.name: getattr(config, field.name)
        for field in fields(Config)
        if getattr(config, field.name) != field.default
    }
    found = label("m", config)
    if not changed:
        assert found == "m"
        return
    assert found.startswith("m[")
    assert found.endswith("]")
    for name, value in changed.items():
        text = "+".join(value) if isinstance(value, tuple) else str(value)
        assert (text if name == "junction" else f"{name}={text}") in found
    assert "junction=" not in label("m", Config(junction=config.junction))


@given(CONFIGS, CONFIGS)
def test_labels_tell_configurations_apart(one, other):
    if one.note is None and other.note is None:
        assert (label("m", one) == label("m", other)) == (one == other)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (Config(), "m"),
        (Config(junction="right"), "m[right]"),
        (Config(pairs=("qk",)), "m[pairs=qk]"),
        (Config(pairs=()), "m[pairs=]"),
        (Config(junction="right", rounds=1), "m[right, rounds=1]"),
    ],
)
def test_labels_read(config, expected):
    assert label("m", config) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dampign": 1}, "unknown option of m 'dampign'; did you mean damping?"),
        ({"xyz": 1}, "unknown option of m 'xyz'; known: damping, greedy, junction"),
        ({"rounds": "four"}, "option 'rounds' of m: input should be a valid integer"),
        ({"rounds": 1.5}, "option 'rounds' of m: input should be a valid integer"),
        ({"damping": "small"}, "got 'small'"),
        ({"junction": "middle"}, "option 'junction' of m: input should be 'left' or 'right'"),
        ({"pairs": ["qk", "kv"]}, "option 'pairs' of m: input should be 'qk', 'vo' or 'ud'"),
        ({"pairs": "qk"}, "option 'pairs' of m: input should be a valid tuple"),
        ({"window": "some"}, "option 'window' of m"),
    ],
)
def test_wrong_options_are_named(values, message):
    with pytest.raises(UsageError) as caught:
        configure(Config, values, "m")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_becomes_a_tuple():
    assert configure(Config, {"pairs": ["ud"]}, "m").pairs == ("ud",)


@dataclass(frozen=True)
class Odd:
    anything: object = None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, (1.5,), object()])
def test_what_a_record_cannot_hold_is_refused(value):
    with pytest.raises(UsageError, match="option 'anything' of m cannot be"):
        spelled_out(Odd(value), "m")


def test_checks_of_the_plugin_itself_keep_their_words():
    from tasks.text_perplexity import PerplexityConfig

    with pytest.raises(UsageError, match="a window of 1 tokens predicts nothing"):
        configure(PerplexityConfig, {"window": "1"}, "wikitext2")


@dataclass(frozen=True)
class Grown:
    old: int = 1
    new: Annotated[int, AddedLater()] = 2


def test_option_added_later_is_spelled_out_only_where_it_is_not_its_default() -> None:
    assert spelled_out(Grown(), "grown") == {"old": 1}
    assert spelled_out(Grown(old=2, new=2), "grown") == {"old": 2}
    assert spelled_out(Grown(new=3), "grown") == {"old": 1, "new": 3}
