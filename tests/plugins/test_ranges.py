"""Ranges as annotations declare them, and the one place that holds options to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import annotated_types
import pytest
from pydantic import Field

from harness.errors import UsageError
from harness.plugins.options import configure
from harness.plugins.ranges import Advice, declared_range, require_in_range

SHARE = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Config:
    power: Annotated[float, Field(ge=0)] = 0.5
    share: SHARE | Literal["auto"] = "auto"
    count: Annotated[int, Field(ge=1), Advice("{} of them are none; pass 7")] | None = None
    step: Annotated[float, annotated_types.Interval(gt=0, lt=2)] = 1.0
    free: float = 0.0
    flag: bool = True
    rounds: Annotated[int, Field(le=9)] = 3


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (SHARE, "0 to 1"),
        (SHARE | None, "0 to 1"),
        (Annotated[int, Field(ge=2)] | Literal["all"], "2 or more"),
        (Annotated[int | None, Field(gt=2)], "more than 2"),
        (Annotated[float, annotated_types.Lt(1), annotated_types.Ge(0)], "0 or more, less than 1"),
        (Annotated[int, Field(le=9)], "9 or less"),
        (float, "any number"),
        (bool, "None"),
        (Annotated[str, Field(min_length=1)], "None"),
        (tuple[int, ...], "None"),
    ],
)
def test_a_range_in_words(hint, expected):
    assert str(declared_range(hint)) == expected


@pytest.mark.parametrize(
    "values",
    [
        {"power": "0", "share": "1", "count": "1", "step": 1.99, "rounds": -5},
        {"share": "auto", "count": 10**400, "free": -1e300},
    ],
)
def test_the_ends_of_a_range_belong_to_it(values):
    configure(Config, values, "m")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"power": -1}, "'power' of m: -1 is outside its range: 0 or more; pass at least 0"),
        ({"power": "-0.5"}, "'power' of m: -0.5 is outside its range: 0 or more; pass at least 0"),
        ({"share": 2}, "'share' of m: 2 is outside its range: 0 to 1; pass at most 1"),
        ({"share": "-1"}, "'share' of m: -1 is outside its range: 0 to 1; pass at least 0"),
        ({"count": "0"}, "0 is outside its range: 1 or more; 0 of them are none; pass 7"),
        ({"step": 0}, "0 is outside its range: more than 0, less than 2; pass more than 0"),
        ({"step": 2}, "2 is outside its range: more than 0, less than 2; pass less than 2"),
        ({"rounds": 10**400}, "0 is outside its range: 9 or less; pass at most 9"),
        ({"power": "nan"}, "'power' of m: nan is not finite; its range: 0 or more"),
        ({"power": "inf"}, "'power' of m: inf is not finite; its range: 0 or more"),
        ({"share": float("nan")}, "'share' of m: nan is not finite; its range: 0 to 1"),
        ({"free": "nan"}, "'free' of m: nan is not finite; its range: any number"),
        ({"free": "-inf"}, "'free' of m: -inf is not finite; its range: any number"),
    ],
    ids=str,
)
def test_a_number_out_of_range_is_refused(values, message):
    with pytest.raises(UsageError) as caught:
        configure(Config, values, "m")
    assert message in str(caught.value)


def test_an_instance_is_held_to_its_ranges_too():
    require_in_range(Config(power=0.0, flag=False))
    with pytest.raises(UsageError, match="option 'power': -1 is outside its range: 0 or more"):
        require_in_range(Config(power=-1))
