from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from leaderboards.board import board
from leaderboards.figures import draw
from leaderboards.figures.all import figures
from leaderboards.figures.figure import COLOURS, colour_scale
from leaderboards.figures.flops import front
from tests.helpers.board_records import dense, make_record, paper_board, vision_board
from tests.leaderboards.awkward_names import AWKWARD, board_named


def with_macs(record, macs):
    model = record.model.model_copy(update={"macs": macs})
    done = record.compression and record.compression.model_copy(update={"macs": macs})
    return record.model_copy(update={"model": model, "compression": done})


def named(records):
    return {figure.name: figure for figure in figures(board(records))}


def layers(figure, mark, **more):
    return [
        layer
        for layer in figure.spec["layer"]
        if {"type": mark, **more}.items() <= layer["mark"].items()
    ]


def test_value_against_ratio_shows_measured_dense_and_published():
    figure = named(paper_board())["ratio-1-facebook-opt-1.3b-wikitext2"]
    points = figure.spec["data"]["values"]
    assert [p["value"] for p in points if p["method"] == "latentllm"] == [14.5, 15.8]
    (rule,) = layers(figure, "rule", opacity=0.6)
    assert {(p["source"], p["value"]) for p in rule["data"]["values"]} == {
        ("measured", 14.6), ("paper", 14.6)
    }  # fmt: skip
    (paper,) = layers(figure, "point", filled=False)
    curve = [p["value"] for p in paper["data"]["values"] if p["method"] == "latentllm"]
    assert curve[:4] == [14.5, 15.8, 20.2, 34.1]  # the paper's Table 3
    assert {p["method"] for p in paper["data"]["values"]} == {"latentllm", "asvd-rootcov", "svd"}
    assert figure.spec["layer"][0]["encoding"]["y"]["scale"]["type"] == "log"


def test_points_stand_beside_their_ratio_in_the_order_of_the_table():
    records = [
        make_record(9.0 + i, method=m) for i, m in enumerate(("latentllm", "svd", "asvd-l2"))
    ]
    (figure,) = named(records).values()
    beside = [(p["ratio"], p["method"]) for p in figure.spec["data"]["values"]]
    assert [method for _, method in sorted(beside)] == ["svd", "asvd-l2", "latentllm"]
    assert sum(ratio for ratio, _ in beside) / 3 == pytest.approx(0.3)
    assert all(abs(ratio - 0.3) < 0.05 for ratio, _ in beside)


def test_error_bars_are_positive_on_a_logarithmic_axis():
    (figure,) = named([make_record(2.0, stderr=5.0)]).values()
    (point,) = figure.spec["data"]["values"]
    assert (point["low"], point["high"]) == (2.0, 2.0 + 1.96 * 5.0)


def test_seeds_are_one_point_with_all_their_runs():
    calibration = make_record().spec.calibration
    records = [
        make_record(
            10.0 + s, calibration=calibration.model_copy(update={"seed": s}), run_id=f"r{s}"
        )
        for s in range(3)
    ]
    (figure,) = named(records).values()
    (point,) = figure.spec["data"]["values"]
    assert (point["value"], point["low"], point["high"]) == (11.0, 10.0, 12.0)
    assert point["runs"] == ["r0", "r1", "r2"]


def test_perplexity_against_work_has_a_front_over_all_models():
    small = {"model": "facebook/opt-125m", "fingerprint": "s"}
    records = [
        with_macs(dense(14.6), 100),
        with_macs(make_record(15.0, ratio=0.2), 80),
        with_macs(make_record(40.0, ratio=0.2, method="svd"), 80),
        with_macs(dense(27.7, **small), 20),
        with_macs(make_record(60.0, ratio=0.2, **small), 16),
        with_macs(make_record(30.0, ratio=0.9), 20),
        make_record(99.0, ratio=0.5),
    ]
    figure = named(records)["flops-1-wikitext2"]
    (line,) = layers(figure, "line", interpolate="step-after")
    assert [(p["flops"], p["value"]) for p in line["data"]["values"]] == [
        (32, 60.0), (40, 27.7), (160, 15.0), (200, 14.6)
    ]  # fmt: skip
    assert len(figure.spec["data"]["values"]) == 6
    assert "1 of 7 values come from records that hold no such count" in " ".join(figure.notes)


def test_records_without_a_count_give_no_such_figure():
    assert not any(name.startswith("flops") for name in named(paper_board()))


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=30),
    st.booleans(),
)
def test_the_front_is_what_nothing_beats(places, higher):
    points = [{"flops": flops, "value": value} for flops, value in places]
    sign = -1 if higher else 1

    def beaten(one):
        return any(
            other["flops"] <= one["flops"]
            and sign * other["value"] <= sign * one["value"]
            and (other["flops"], other["value"]) != (one["flops"], one["value"])
            for other in points
        )

    kept = {(p["flops"], p["value"]) for p in front(points, higher=higher)}
    assert kept == {(p["flops"], p["value"]) for p in points if not beaten(p)}


def test_the_heat_map_holds_every_slice_of_every_row():
    maps = {name: f for name, f in named(vision_board()).items() if name.startswith("slices")}
    figure = next(
        f
        for f in maps.values()
        if any(v["row"].startswith("latentllm") for v in f.spec["data"]["values"])
    )
    values = figure.spec["data"]["values"]
    assert len([v for v in values if v["row"] == "dense"]) == 9
    assert [v["slice"] for v in values if v["row"] == "svd 10%"] == ["NAT", "SOC", "NO", "Avg"]
    assert figure.spec["layer"][0]["encoding"]["color"]["scale"]["domain"] == [0, 1]


def test_methods_keep_their_colours_and_variants_get_others():
    scale = colour_scale(["svd", "latentllm", "latentllm[left]", "mine"])
    colours = dict(zip(scale["domain"], scale["range"], strict=True))
    assert (colours["svd"], colours["latentllm"]) == (COLOURS["svd"], COLOURS["latentllm"])
    assert len(set(colours.values())) == 4
    assert len(colour_scale([f"m{i}" for i in range(40)])["range"]) == 40


@pytest.mark.parametrize("records", [paper_board, vision_board])
def test_drawings_are_the_same_bytes_each_time_and_ask_for_nothing(records):
    for figure in figures(board(records())):
        text = draw.svg(figure)
        assert text == draw.svg(figure)
        root = ET.fromstring(text)  # noqa: S314
        assert root.tag.endswith("svg")
        addresses = set(re.findall(r"https?://[^\"'\s]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_a_png_is_one():
    (figure,) = figures(board([make_record()]))
    assert draw.png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_are_text_in_a_drawing_and_harmless_in_a_file_name(name):
    found = list(figures(board_named(name)))
    assert found
    assert len({figure.name for figure in found}) == len(found)
    for figure in found:
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,200}", figure.name)
        assert ".." not in figure.name
        json.dumps(figure.spec, allow_nan=False)
        root = ET.fromstring(draw.svg(figure))  # noqa: S314
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert tags <= {"svg", "g", "path", "text", "tspan", "rect", "line", "defs", "clipPath"}


def test_without_the_library_one_line_says_what_to_install(monkeypatch):
    draw.library.cache_clear()
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UsageError, match=r'pip install "harness\[page\]"'):
        draw.svg(next(figures(board([make_record()]))))
    draw.library.cache_clear()
