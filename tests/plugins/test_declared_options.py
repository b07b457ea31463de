"""What the plugins of ours declare: explained, in a range, and with the values they always had."""

from __future__ import annotations

import pytest

from harness.compression.compressor import compressors
from harness.errors import UsageError
from harness.evaluation.task import tasks
from harness.plugins.described import describe
from harness.plugins.options import configure, spelled_out
from harness.sweep.engines.engine import engines

COMMON = {"junction": "left", "bias_update": "auto", "propagation": "sequential"}
RANKED = COMMON | {"ranks": "uniform", "multiple": 1}
DEFAULTS = {
    compressors: {
        "asvd-cov": RANKED | {"damping": 0.01},
        "asvd-hessian": RANKED | {"damping": 0.01},
        "asvd-l1": RANKED | {"alpha": 0.5},
        "asvd-l2": RANKED,
        "asvd-rootcov": RANKED | {"damping": 0.01},
        "latentllm": COMMON
        | {
            "junction": "block-identity",
            "damping": 0.01,
            "joint": ("qk", "vo", "ud"),
            "iterations": 4,
            "rope_window": 10,
            "vo_statistics": "output",
            "head_junction": True,
        },
        "svd": RANKED,
        "twinroot": RANKED
        | {
            "junction": "block-identity",
            "propagation": "original",
            "ranks": "fisher",
            "damping": 0.01,
            "gradient_damping": 0.1,
            "shrinkage": "held-out",
            "gradient_shrinkage": "held-out",
            "neurons": True,
            "compensation": True,
        },
    },
    tasks: {
        "c4": {"window": 2048},
        "c4-excerpt": {"window": 512},
        "easy-vqa": {"max_new_tokens": 16, "questions": 1000},
        "lm-eval": {"num_fewshot": None, "bootstrap_iters": 1000},
        "lmms-eval": {"max_new_tokens": 128, "bootstrap_iters": 1000},
        "mini-scienceqa": {"max_new_tokens": 16, "parser": "letter"},
        "mini-textvqa": {"max_new_tokens": 16, "ocr": False},
        "ptb": {"window": 2048},
        "scienceqa": {"max_new_tokens": 16, "parser": "letter", "subset": "full"},
        "textvqa": {"max_new_tokens": 16, "ocr": False},
        "wiki-excerpt": {"window": 512},
        "wikitext2": {"window": 2048},
    },
}
FITTING = {"multiple": {"ranks": "fisher"}}
"""What an option makes sense with only."""
PLUGINS = [
    (registry, name) for registry in (compressors, tasks, engines) for name in registry.names()
]


def config_of(registry, name):
    try:
        return registry.get(name).config
    except UsageError as error:
        pytest.skip(str(error))  # an engine that lacks its package


@pytest.mark.parametrize("registry", DEFAULTS, ids=lambda registry: registry.kind)
def test_options_that_enter_run_ids_are_what_they_were(registry):
    assert set(registry.names()) == set(DEFAULTS[registry])
    for name, expected in DEFAULTS[registry].items():
        spelled = spelled_out(registry.get(name).config(), name)
        assert spelled == expected
        assert all(type(spelled[key]) is type(value) for key, value in expected.items())


@pytest.mark.parametrize(("registry", "name"), PLUGINS, ids=lambda value: str(value)[:16])
def test_every_option_is_explained_and_every_number_has_a_range(registry, name):
    config = config_of(registry, name)
    for option in describe(config):
        assert option.explanation, option.name
        assert option.range is None or str(option.range) != "any number", option.name
        if "INT" in option.values or "FLOAT" in option.values:
            assert option.range is not None, option.name


@pytest.mark.parametrize(("registry", "name"), PLUGINS, ids=lambda value: str(value)[:16])
def test_numbers_out_of_range_are_refused(registry, name):
    config = config_of(registry, name)
    for option in describe(config):
        if option.range is not None:
            for wrong in (-1, "-1", "nan", "inf", "-inf", 10**30, str(10**30), "1e30", True):
                with pytest.raises(UsageError, match=f"'{option.name}' of {name}.*range") as error:
                    configure(config, {option.name: wrong}, name)
                assert str(option.range) in str(error.value)


@pytest.mark.parametrize(("registry", "name"), PLUGINS, ids=lambda value: str(value)[:16])
def test_the_ends_of_a_range_are_allowed_and_what_lies_beyond_is_not(registry, name):
    config = config_of(registry, name)
    for option in describe(config):
        within = option.range
        if within is None:
            continue
        assert within.ge is not None, option.name
        assert within.le is not None, option.name
        for end in (within.ge, within.le):
            given = {option.name: str(end)} | FITTING.get(option.name, {})
            assert getattr(configure(config, given, name), option.name) == end
        for beyond in (within.ge - 1, within.le + 1):
            with pytest.raises(UsageError, match="outside its range"):
                configure(config, {option.name: beyond}, name)
