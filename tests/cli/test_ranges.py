"""Numbers on the command line: each has a range, said in the help and held before any work."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from harness.cli.main import whole_parser
from harness.cli.options import Help, InRange
from harness.compression.compressor import compressors
from harness.errors import UsageError
from harness.evaluation.task import tasks
from harness.plugins.described import describe

WRONG = ("nan", "inf", "-inf", str(10**30), "1e30", "9" * 5000, "many", "")


def numeric(
    parser: argparse.ArgumentParser, *names: str
) -> Iterator[tuple[argparse.ArgumentParser, tuple[str, ...], InRange]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, own in action.choices.items():
                yield from numeric(own, *names, name)
        elif isinstance(action, InRange):
            yield parser, names, action


@pytest.fixture(scope="module")
def actions():
    return list(numeric(whole_parser()))


def refused(parser, flag, text) -> str:
    with pytest.raises(UsageError) as error:
        parser.parse_args([f"{flag}={text}"])
    assert error.value.exit_code == 2
    return str(error.value)


def test_every_number_of_every_command_is_held_to_a_range_that_its_help_shows(actions):
    assert len(actions) > 20
    for parser, names, action in actions:
        flag, within = action.option_strings[-1], action.within
        parser.formatter_class = Help
        assert str(within) in " ".join(parser.format_help().split()), (names, flag)
        low = within.ge if within.ge is not None else within.gt
        high = within.le if within.le is not None else within.lt
        assert low is not None, flag
        assert high is not None, flag
        for text in (*WRONG, str(low - 1), str(high + 1)):
            message = refused(parser, flag, text)
            assert message.startswith(f"{flag}: "), message
            assert str(within) in message, message
        for end, belongs in ((low, within.ge is not None), (high, within.le is not None)):
            assert (end in within) == belongs


@pytest.fixture
def nothing_is_looked_up(monkeypatch):
    def fail(*_):
        raise AssertionError("a model was looked up")

    monkeypatch.setattr("harness.cli.request.resolve_model", fail)


PLUGIN_OPTIONS = [
    (kind, name, option)
    for kind, registry in (("--method", compressors), ("--tasks", tasks))
    for name in registry.names()
    for option in describe(registry.get(name).config)
    if option.range is not None
]


@pytest.mark.parametrize(
    ("kind", "name", "option"), PLUGIN_OPTIONS, ids=[f"{n}-{o.name}" for _, n, o in PLUGIN_OPTIONS]
)
def test_a_number_of_a_plugin_is_refused_before_a_model_is_looked_up(
    cli, nothing_is_looked_up, kind, name, option
):
    flag = f"--{option.name.replace('_', '-')}"
    told = cli("run", kind, name, f"{flag}={10**30}")
    assert told.code == 2
    assert f"option '{option.name}' of {name}: {10**30} is outside its range" in told.err
    assert str(option.range) in told.err


@pytest.mark.parametrize("command", [["run"], ["compress", "--save", "x"], ["profile"]])
def test_a_command_ends_with_exit_code_2_before_a_model_is_looked_up(
    cli, nothing_is_looked_up, command
):
    told = cli(*command, "--ratio", "1")
    assert told.code == 2
    assert "--ratio: 1.0 is outside its range: 0 or more, less than 1; pass less" in told.err
