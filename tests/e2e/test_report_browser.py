"""The report page in a real browser: it sorts, filters, shows pictures, fits a phone, and never speaks to a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.unit import segmentation_results
from tests.unit.report_bench import endings, heads, written

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
ROWS = """() => [...document.querySelectorAll('#suite1 table.board tbody')].map(
    body => [...body.rows].filter(row => !row.hidden && row.dataset.name).map(row => row.dataset.name))"""
HEADINGS = """() => [...document.querySelector('#suite1 table.board').tHead.rows[0].cells]
    .filter(cell => !cell.hidden).map(cell => cell.innerText.trim())"""


@dataclass
class Opened:
    """A page of the browser, everything it asked for and everything it complained about."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    written([*heads(folder), *endings(), *segmentation_results.suite(seeds=1, folder=folder)], folder)
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as made:
        started = made.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


def visit(browser: Any, file: Path, **more: Any) -> Opened:
    opened = Opened(browser.new_page(**more))
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.on("console", lambda message: opened.complaints.append(message.text))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.goto(file.as_uri())
    return opened


@pytest.fixture(scope="module")
def desk(browser: Any, file: Path) -> Iterator[Opened]:
    """One visit at a desk; at its end nothing may have been asked for or complained about."""
    opened = visit(browser, file, viewport={"width": 1280, "height": 900})
    yield opened
    asked = [url for url in opened.requests if not url.startswith("data:")]
    assert asked == [file.as_uri()]
    assert opened.complaints == []
    opened.page.close()


def test_rows_are_sorted_within_their_block_by_button_and_keyboard(desk: Opened) -> None:
    page = desk.page
    before = page.evaluate(ROWS)
    assert before[1] == ["hologan", "hologan[train_rotation=none]", "dcgan"]
    button = page.locator("#suite1 table.board thead .sort", has_text="Row")
    button.click()
    heading = page.locator("#suite1 table.board thead th.rowhead")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert page.evaluate(ROWS)[1] == ["dcgan", "hologan", "hologan[train_rotation=none]"]
    button.focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert page.evaluate(ROWS)[1] == ["hologan[train_rotation=none]", "hologan", "dcgan"]
    score = page.locator("#suite1 table.board thead .sort", has_text="pose_corr").first
    score.click()
    assert heading.get_attribute("aria-sort") is None
    assert page.evaluate(ROWS)[1:] == before[1:]  # higher is better, so the best comes first
    assert page.evaluate(ROWS)[2] == ["dcgan", "pigan"]  # the other budget stays in its own block, gaps last


def test_rows_are_filtered_by_words_comparison_and_kind(desk: Opened) -> None:
    page = desk.page
    tools = page.locator("#suite1 .board-section .tools").first
    words = tools.locator("[data-row-filter]")
    words.fill("rotation holo")
    assert page.evaluate(ROWS)[1:] == [["hologan[train_rotation=none]"], []]
    assert tools.locator(".found").inner_text() == "1 of 5 rows"
    assert len(page.evaluate(ROWS)[0]) == 2
    tools.locator("[data-references]").uncheck()
    assert page.evaluate(ROWS)[0] == []
    words.fill("")
    tools.locator("[data-block-filter]").select_option(index=2)
    assert page.evaluate(ROWS) == [[], [], ["dcgan", "pigan"]]
    tools.locator("[data-block-filter]").select_option(index=0)
    tools.locator("[data-references]").check()
    assert len([name for block in page.evaluate(ROWS) for name in block]) == 7


def test_groups_of_columns_are_chosen(desk: Opened) -> None:
    page = desk.page
    leading = page.evaluate(HEADINGS)
    assert leading[0] == "Row"
    assert "parameters" not in " ".join(leading)
    page.get_by_role("button", name="Cost", exact=True).first.click()
    assert [name.split("\n")[0] for name in page.evaluate(HEADINGS)] == ["Row", "seeds", "CPU-seconds ↓", "parameters"]
    page.get_by_role("button", name="Leading columns").first.click()
    assert page.evaluate(HEADINGS) == leading


def test_claims_are_filtered_by_verdict_and_words(desk: Opened) -> None:
    page = desk.page
    shown = "() => [...document.querySelectorAll('#suite1 .claim')].filter(c => !c.hidden).map(c => c.dataset.word)"
    every = page.evaluate(shown)
    ledger = page.locator("#suite1 .ledger")
    ledger.get_by_role("button", name="untested").click()
    assert "UNTESTED" not in page.evaluate(shown)
    ledger.get_by_role("button", name="untested").click()
    ledger.locator("[data-claim-filter]").fill("H1-2d")
    assert len(page.evaluate(shown)) == 1
    ledger.locator("[data-claim-filter]").fill("")
    assert page.evaluate(shown) == every


def test_the_viewer_opens_turns_and_closes_by_keyboard(desk: Opened) -> None:
    page = desk.page
    thumb = page.locator(".thumb").first
    thumb.scroll_into_view_if_needed()
    thumb.focus()
    page.keyboard.press("Enter")
    viewer = page.locator("#viewer")
    assert viewer.is_visible()
    assert viewer.locator("img").get_attribute("alt")
    assert page.evaluate("() => document.querySelector('#viewer img').naturalWidth") > 0
    first = viewer.locator(".caption").inner_text()
    page.keyboard.press("ArrowRight")
    assert viewer.locator(".place").inner_text().startswith("2 of ")
    assert viewer.locator(".caption").inner_text() != first
    page.keyboard.press("ArrowLeft")
    assert viewer.locator(".caption").inner_text() == first
    page.keyboard.press("Escape")
    assert not viewer.is_visible()
    assert page.evaluate("() => document.activeElement === document.querySelector('.thumb')")


def test_the_first_key_leads_to_the_results(desk: Opened) -> None:
    page = desk.page
    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
    page.reload()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    desk.requests.pop()  # the reload asked for the page once more


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_schemes(browser: Any, file: Path, scheme: str) -> None:
    opened = visit(browser, file, viewport={"width": 360, "height": 760}, color_scheme=scheme)
    page = opened.page
    page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate("() => document.documentElement.scrollWidth") == 360
    wide = """() => [...document.querySelectorAll('main *, footer *')].filter(one => !one.closest('.scroll, .vh, svg'))
        .filter(one => one.getBoundingClientRect().right > 361).map(one => one.outerHTML.slice(0, 120))"""
    assert page.evaluate(wide) == []
    colours = "() => { const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]; }"
    paper, ink = (sum(map(int, text[4:-1].split(","))) for text in page.evaluate(colours))
    assert (paper > 600 > 200 > ink) if scheme == "light" else (paper < 200 < 600 < ink)
    assert opened.complaints == []
    page.close()


def test_without_scripts_every_table_and_column_is_there(browser: Any, file: Path) -> None:
    opened = visit(browser, file, java_script_enabled=False)
    page = opened.page
    assert page.locator(".tools").first.is_hidden()
    assert page.locator("#suite1 table.board td").last.is_visible()
    assert page.locator("#suite1 table.board th", has_text="parameters").is_visible()
    assert not page.locator("#viewer").is_visible()
    page.close()
