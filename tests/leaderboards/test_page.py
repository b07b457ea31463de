from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from harness.support.markdown import visible
from leaderboards.board import board
from leaderboards.page.markup import source_hash
from leaderboards.page.page import render
from leaderboards.page.templates import environment
from tests.helpers.board_records import dense, make_record, numbered, paper_board, vision_board
from tests.leaderboards.awkward_names import AWKWARD, board_named

TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section"),
    *("h1", "h2", "h3", "p", "a", "ul", "li", "dl", "dt", "dd", "br", "div", "figure"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "small", "span", "abbr"),
    *("svg", "circle", "dialog", "script"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "href", "id", "scope", "type"),
    *("colspan", "role", "tabindex", "title", "fill", "cx", "cy", "r", "viewbox", "data-value"),
    *("data-sort", "aria-label", "aria-labelledby", "aria-hidden"),
}


class Page(HTMLParser):
    """Elements, attributes and texts of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.scripts, self.text = [], [], [], []
        self.inside = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag in ("script", "style"):
            self.inside = [tag, dict(attrs)]

    def handle_endtag(self, tag):
        self.inside = []

    def handle_data(self, text):
        if self.inside:
            self.scripts.append((*self.inside, text))
        else:
            self.text.append(text)

    def json(self, **attributes):
        return [
            json.loads(text)
            for tag, found, text in self.scripts
            if found.get("type") == "application/json" and attributes.items() <= found.items()
        ]


def test_a_page_is_one_file_that_asks_for_nothing():
    html = render(board([*paper_board(), *vision_board()]))
    page = Page(html)
    assert set(page.tags) <= TAGS
    assert {name for _, name, _ in page.attributes} <= ATTRIBUTES
    addresses = [value for _, name, value in page.attributes if name == "href"]
    assert addresses
    assert all(address.startswith("#") for address in addresses)
    (policy,) = (
        value for _, name, value in page.attributes if name == "content" and "default-src" in value
    )
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag, attributes, text in page.scripts:
        if attributes.get("type") != "application/json":
            assert f"{tag}-src" in policy
            assert source_hash(text) in policy


def test_equal_boards_give_equal_bytes():
    records = numbered([*paper_board(), *vision_board()])
    assert render(board(records)) == render(board(records[::-1]))


def test_values_marks_and_conditions_stand_in_the_tables():
    text = "".join(Page(render(board(paper_board()))).text)
    for part in ("perplexity_token@2048, lower is better", "c4, 64 x 2048 tokens by windows"):
        assert part in text
    assert re.search(r"\*14\.5\s*± 0\.2\s*paper 14\.5", text)
    assert "failed: out of memory | a <b>" in text
    assert "limited to 4" in text


def test_every_value_leads_to_a_record_with_its_provenance():
    records = numbered([*paper_board(), *vision_board()])
    page = Page(render(board(records)))
    (found,) = page.json(id="data")
    by_id = {record["run_id"]: record for record in found["records"]}
    links = {v for _, name, v in page.attributes if name == "href" and v.startswith("#run=")}
    assert {one for link in links for one in link[5:].split(",")} <= by_id.keys()
    one = by_id["0000000000000002"]
    assert found["shared"][one["model"]]["fingerprint"] == "m" * 40
    assert found["shared"][one["environment"]]["packages"] == {"torch": "2.13.0"}
    assert found["shared"][one["spec"]["calibration"]]["seed"] == 0
    assert one["timings"] == {"evaluate": 1.5}
    assert "samples" not in one["result"]
    assert "layers" not in one["compression"]


def test_no_board_is_a_page_too():
    assert "0 records" in render(board([]))


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_are_text(name):
    page = Page(render(board_named(name)))
    assert set(page.tags) <= TAGS
    assert {attribute for _, attribute, _ in page.attributes} <= ATTRIBUTES
    assert visible(name) in "".join(page.text)
    plain = Page(render(board_named("plain")))
    assert page.tags.count("script") == plain.tags.count("script")
    (found,) = page.json(id="data")
    assert name in {record["spec"]["model"] for record in found["records"]}


@pytest.mark.parametrize("name", [*AWKWARD, "</script>", "<!--<script>", "\u2028"])
def test_no_name_ends_the_script_that_holds_it(name):
    html = environment().get_template("elements.html").module.data({"name": name}, id=name)
    assert html.count("<") == 2
    assert Page(html).json() == [{"name": name}]


def test_many_records_make_a_page():
    records = [
        make_record(
            float(i % 97 + 1),
            model=f"facebook/opt-{i % 5}",
            fingerprint=f"{i % 5}",
            label=f"method-{i // 5 % 10}",
            ratio=(i // 50 % 10) / 20,
        )
        for i in range(500)
    ] + [dense(model=f"facebook/opt-{i}", fingerprint=f"{i}") for i in range(5)]
    page = Page(render(board(records)))
    assert page.tags.count("td") == 500
    (found,) = page.json(id="data")
    assert len(found["records"]) == 505
    assert len(page.json()) == 1 + page.tags.count("figure") == 6
