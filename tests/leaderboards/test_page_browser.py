"""The page in a real browser: by mouse, by keyboard, on a phone, in the dark, on paper."""

from __future__ import annotations

import os
import re
import shutil
import time

import pytest

from leaderboards.board import board
from leaderboards.page.page import render
from tests.helpers.board_records import dense, make_record, paper_board, vision_board
from tests.leaderboards.awkward_names import AWKWARD, board_named

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 60
"""Seconds until a chart that is not drawn counts as broken."""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("HARNESS_REQUIRE_BROWSER") != "1",
    reason="no Chromium here; HARNESS_REQUIRE_BROWSER=1 fails instead",
)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "HARNESS_REQUIRE_BROWSER=1, but there is no chromium on the PATH"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def with_macs(record, macs):
    model = record.model.model_copy(update={"macs": macs})
    done = record.compression and record.compression.model_copy(update={"macs": macs})
    return record.model_copy(update={"model": model, "compression": done})


def the_board():
    counted = [with_macs(dense(14.6, run_id="dense"), 100)]
    counted += [
        with_macs(make_record(value, method=method, ratio=ratio, run_id=f"{method}-{ratio}"), macs)
        for method, ratio, value, macs in (
            ("svd", 0.1, 9428.0, 90), ("svd", 0.3, 18105.0, 70),
            ("latentllm", 0.1, 14.5, 90), ("latentllm", 0.3, 20.2, 70),
            ("asvd-rootcov", 0.1, 17.7, 90),
        )
    ]  # fmt: skip
    return board([*counted, *vision_board(), *paper_board()[-2:]])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "leaderboard.html"
    path.write_text(render(the_board()), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser):
    """``opened(file, ...)``: a page with all charts drawn; trouble of any kind fails the test."""
    contexts, trouble = [], []

    def open_page(file, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: asked(request.url))
        page.on("dialog", lambda dialog: trouble.append(f"dialog: {dialog.message}"))
        page.goto(file.as_uri())
        until(lambda: page.locator(".plot:not(.drawn)").count() == 0)
        return page

    def asked(url):
        if not url.startswith("file://"):
            trouble.append(f"request: {url}")

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def methods(table):
    rows = table.locator("tbody tr:not(.group)")
    return [row.locator("th").inner_text() for row in rows.all() if row.is_visible()]


def test_every_kind_of_chart_is_drawn(opened, file):
    page = opened(file)
    titles = [plot.get_attribute("aria-label") for plot in page.locator(".plot").all()]
    for part in ("by share of parameters removed", "by FLOPs per token", "accuracy by slice"):
        assert any(part in title for title in titles)
    assert page.locator(".plot svg").count() == len(titles)


def test_tables_sort_up_down_and_back(opened, file):
    page = opened(file)
    table = page.locator("table", has_text="facebook/opt-1.3b").first
    first = methods(table)
    assert first == ["svd", "asvd-rootcov", "latentllm"]
    heading = table.locator("th[scope=col]", has_text="30%")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert methods(table) == ["latentllm", "svd", "asvd-rootcov"]  # what has no value is last
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert methods(table) == ["svd", "latentllm", "asvd-rootcov"]
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") is None
    assert methods(table) == first
    other = table.locator("th[scope=col]", has_text="Method")
    other.get_by_role("button").click()
    assert methods(table) == ["asvd-rootcov", "latentllm", "svd"]


def test_a_filter_hides_rows_and_whole_models(opened, file):
    page = opened(file)
    table = page.locator("table", has_text="Qwen/Qwen2.5-VL-3B-Instruct").first
    tools = table.locator("xpath=../preceding-sibling::*[1]")
    every = len(methods(table))
    tools.get_by_role("searchbox").fill("qwen LATENT")
    assert methods(table) == ["latentllm"]
    assert tools.get_by_role("status").inner_text() == f"1 of {every} rows"
    assert not table.get_by_text("llava-hf/llava-v1.6-vicuna-7b-hf").is_visible()
    tools.get_by_role("searchbox").fill("")
    assert len(methods(table)) == every


def test_a_value_opens_its_record_and_closing_comes_back(opened, file):
    page = opened(file)
    dialog = page.locator("dialog#record")
    page.get_by_role("link", name="20.2", exact=True).click()
    assert dialog.get_by_role("heading", name="latentllm, 30% removed, wikitext2").is_visible()
    text = dialog.inner_text()
    for part in ("m" * 40, "c" * 40, "d-wikitext2", "2.13.0", "evaluate", "perplexity_token@2048"):
        assert part in text
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()
    assert "#" not in page.url
    page.get_by_role("link", name="20.2", exact=True).click()
    assert dialog.is_visible()


def test_the_keyboard_alone_sorts_filters_and_drills_down(opened, file):
    page = opened(file)
    heading = page.locator("th[scope=col]", has_text="30%").first

    def tab_to(locator):
        for _ in range(400):
            page.keyboard.press("Tab")
            if locator.evaluate("element => element === document.activeElement"):
                return
        pytest.fail("the keyboard does not get there")

    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the tables"
    tab_to(page.get_by_role("searchbox").first)
    page.keyboard.type("zzz")
    assert "0 of" in page.get_by_role("status").first.inner_text()
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    tab_to(heading.get_by_role("button"))
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    value = page.get_by_role("link", name="20.2", exact=True)
    tab_to(value)
    page.keyboard.press("Enter")
    dialog = page.locator("dialog#record")
    until(dialog.is_visible)
    assert page.locator(":focus").inner_text() == "Close"
    page.keyboard.press("Escape")
    until(lambda: not dialog.is_visible())
    assert value.evaluate("element => element === document.activeElement")


def test_an_address_opens_a_record(opened, file, browser):
    page = opened(file)
    page.goto(f"{file.as_uri()}#run=svd-0.1")
    page.reload()
    assert page.get_by_role("heading", name="svd, 10% removed, wikitext2").is_visible()
    page.goto(f"{file.as_uri()}#run=absent")
    until(page.get_by_role("heading", name="There is no record absent").is_visible)


def test_a_point_of_a_chart_tells_what_it_is_and_opens_its_record(opened, file):
    page = opened(file, viewport={"width": 1200, "height": 900})
    point = page.locator('.plot path[aria-label*="latentllm"][aria-label*="30% removed"]').first
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    until(page.get_by_role("tooltip").is_visible)
    assert "20.2" in page.get_by_role("tooltip").inner_text()
    point.click(force=True)
    until(page.get_by_role("heading", name="latentllm, 30% removed, wikitext2").is_visible)


def test_all_records_are_there_a_page_at_a_time(opened, tmp_path):
    records = [make_record(float(i + 2), run_id=f"r{i:03}", label=f"m{i:03}") for i in range(130)]
    path = tmp_path / "many.html"
    path.write_text(render(board(records)), encoding="utf-8")
    section = opened(path).locator("#records")
    status = section.get_by_role("status")
    assert status.inner_text() == "1 to 100 of 130"
    section.get_by_role("button", name="Next").click()
    assert status.inner_text() == "101 to 130 of 130"
    section.get_by_role("button", name="Value").click()
    assert section.locator("tbody th").first.inner_text() == "r000"
    section.get_by_role("button", name="Value").click()
    assert section.locator("tbody th").first.inner_text() == "r129"
    section.get_by_role("searchbox").fill("m077")
    assert section.locator("tbody th").all_inner_texts() == ["r077"]


def test_what_a_record_came_to_is_seen_without_scrolling_sideways(opened, file):
    page = opened(file, viewport={"width": 1280, "height": 800})
    headings = page.locator("#records thead th")
    names = [name.rstrip(" \u2195") for name in headings.all_inner_texts()]
    for name in ("Status", "Model", "Method", "Task", "Value"):
        place = headings.nth(names.index(name)).bounding_box()
        assert place["x"] + place["width"] <= 1280


def brightness(colour):
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


def test_dark_mode_is_light_on_dark_in_the_charts_too(opened, file):
    for scheme, sign in (("light", 1), ("dark", -1)):
        page = opened(file, color_scheme=scheme)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        for selector, style in (("body", "color"), (".plot svg text", "fill"), ("td a", "color")):
            ink = page.locator(selector).first.evaluate(
                f"element => getComputedStyle(element).{style}"
            )
            assert sign * (brightness(ground) - brightness(ink)) > 120


def test_a_phone_scrolls_sideways_inside_tables_only(opened, file, tmp_path):
    wide = tmp_path / "wide.html"
    wide.write_text(render(board_named("x" * 300)), encoding="utf-8")
    for path in (file, wide):
        page = opened(path, viewport={"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        for plot in page.locator(".plot svg").all():
            assert plot.bounding_box()["width"] <= 360
    page.locator("td a").first.click()
    assert page.evaluate("document.querySelector('dialog').scrollWidth") <= 360


def test_on_paper_there_are_tables_and_charts_in_black(opened, file):
    page = opened(file, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    ink = page.locator(".plot svg text").first.evaluate("element => getComputedStyle(element).fill")
    assert brightness(ink) == 0
    assert not page.locator(".tools").first.is_visible()
    assert page.locator("table").first.is_visible()
    assert page.pdf().startswith(b"%PDF")


def test_without_scripts_the_tables_are_readable(browser, file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.get_by_text("20.2").first.is_visible()
    assert page.get_by_text("Without scripts the tables stand as they are").is_visible()
    assert page.locator("input").count() == 0
    context.close()


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_do_nothing(opened, tmp_path, name):
    path = tmp_path / "awkward.html"
    path.write_text(render(board_named(name)), encoding="utf-8")
    page = opened(path)
    page.locator("td a").last.click()
    until(page.locator("dialog#record").is_visible)
    assert page.locator("dialog dl").count() > 3
    assert page.locator("dialog :is(img, script, b)").count() == 0
