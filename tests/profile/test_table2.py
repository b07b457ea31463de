"""The paper's Table 2, to the last printed digit."""

from __future__ import annotations

import pytest

from harness.profile.known import configuration
from harness.profile.skeleton import skeleton
from harness.profile.table2 import CACHE_EXCESS, MODEL, WORKLOAD, as_table2, published_table2

PRINTED = published_table2()
HALF_A_UNIT = {"flops": 0.05, "macs": 0.05, "parameters": 0.005, "cache": 0.005}
"""Of the last printed digit."""


@pytest.fixture(scope="module")
def bare():
    return skeleton(configuration(MODEL), "float16")


@pytest.mark.parametrize("ratio", PRINTED)
def test_every_printed_digit_is_reproduced(bare, ratio):
    printed = vars(as_table2(bare, ratio).printed())
    assert printed == {name: PRINTED[ratio][name] for name in printed}


@pytest.mark.parametrize("ratio", PRINTED)
def test_unrounded_counts_are_within_the_papers_own_rounding(bare, ratio):
    """FLOPs and parameters are printed as twice a rounded number, the cache as a product of two."""
    counted, printed = as_table2(bare, ratio), PRINTED[ratio]
    half = HALF_A_UNIT
    assert counted.macs / 1e12 == pytest.approx(printed["macs_T"], abs=half["macs"])
    assert counted.flops / 1e12 == pytest.approx(printed["flops_T"], abs=2 * half["flops"])
    size = counted.parameter_bytes / 1e9
    assert size == pytest.approx(printed["param_bytes_G"], abs=2 * half["parameters"])
    cache = counted.cache / 1e9
    assert cache == pytest.approx(printed["kv_cache_bytes_G"], abs=2 * half["cache"])


def test_dense_macs_are_the_linear_layers_and_the_head_without_attention(bare):
    linear = 32 * 12 * 4096**2 + 50272 * 4096
    assert as_table2(bare, 0.0).macs == linear * WORKLOAD.tokens
    attention = 2 * 32 * 4096 * WORKLOAD.sequence * WORKLOAD.tokens
    assert round((linear * WORKLOAD.tokens + attention) / 1e12, 1) != PRINTED[0.0]["macs_T"]


def test_an_uncompressed_head_does_not_give_the_table(bare):
    """What a compressed head saves is more than the table's precision."""
    blocks, head = 32 * 12 * 4096**2, 50272 * 4096
    assert round((0.8 * blocks + head) * WORKLOAD.tokens / 1e12, 1) == 43.9
    assert PRINTED[0.2]["macs_T"] == 43.6


def test_the_printed_cache_is_a_quarter_more_than_that_of_the_stated_tokens(bare):
    stated = 2 * 32 * 4096 * WORKLOAD.tokens * 2
    assert as_table2(bare, 0.0).dense_cache == CACHE_EXCESS * stated == 5 * 2**30
    assert round(stated / 1e9, 2) == 4.29
    assert PRINTED[0.0]["kv_cache_bytes_G"] == 5.37
