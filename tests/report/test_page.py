"""The page in headless Chromium: from disk, without network, and with 500 layers."""

from __future__ import annotations

import os
import shutil

import pytest

from .synthetic import report

LAYERS = 500


@pytest.fixture(scope="module")
def browser():
    """Chromium; where it is missing the test is skipped, or fails if ``TVMQ_REQUIRE_BROWSER`` is set, as in CI."""
    refuse = pytest.fail if os.environ.get("TVMQ_REQUIRE_BROWSER") else pytest.skip
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        refuse("no chromium: scripts/install-debian-packages.sh browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        refuse("no playwright: pip install '.[test]'")
    with sync_playwright() as playwright:
        # Root may run Chromium only without its sandbox; the page is our own.
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    report(LAYERS).to_html(path)
    return path


@pytest.fixture(scope="module")
def opened(browser, file):
    """The opened page, what its console said, and the addresses that it asked for."""
    page = browser.new_page()
    said, requests = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    return page, said, requests


def column(page, number: int) -> list[str]:
    """Return the texts of a column of the tensors' table, from 1."""
    return page.locator(f"#tensors tbody tr td:nth-child({number})").all_inner_texts()


def test_size(file):
    assert file.stat().st_size < 10_000_000


def test_opens_from_disk_alone(opened, file):
    page, said, requests = opened
    assert page.locator("#tensors tbody tr").count() == 2 * LAYERS
    assert page.locator("#network .layer").count() == LAYERS + 1
    assert requests == [file.as_uri()]
    assert said == []


def test_worst_first(opened):
    page, _, _ = opened
    middle = LAYERS // 2
    assert column(page, 1)[0] == f"block/{middle}/conv<{middle}>"


def test_sorting(opened):
    page, said, _ = opened
    heading = page.locator("#tensors th", has_text="layer")
    heading.click()
    names = column(page, 1)
    assert names[:4] == ["block/0/conv<0>"] * 2 + ["block/1/conv<1>"] * 2
    heading.click()
    assert column(page, 1)[0] == f"block/{LAYERS - 1}/conv<{LAYERS - 1}>"
    page.locator("#tensors th", has_text="SQNR").click()
    errors = [float(text) for text in column(page, 4)]
    assert errors == sorted(errors)
    assert said == []


def test_a_click_shows_the_histogram(opened):
    page, said, _ = opened
    page.locator("#network .layer").nth(8).click()
    assert page.locator("#detail h2").inner_text() == "block/7/conv<7>, activation"
    before = page.locator("#detail svg rect.before")
    assert before.count() == page.locator("#detail svg rect.after").count() > 40
    heights = [float(bar.get_attribute("height")) for bar in before.all()]
    assert max(heights) == pytest.approx(216.0)
    page.locator("#logarithmic").check()
    tallest = [float(bar.get_attribute("height")) for bar in before.all()]
    assert sum(tallest) > sum(heights)
    page.locator("#tensors tbody tr").first.click()
    assert page.locator("#detail h2").inner_text() != "block/7/conv<7>, activation"
    assert said == []


def test_filter(opened):
    page, _, _ = opened
    page.locator("#filter").fill("conv<42>")
    assert page.locator("#tensors tbody tr:visible").count() == 2
    page.locator("#filter").fill("")


def test_advice_and_reasons_are_text(opened):
    page, _, _ = opened
    assert 'soft<max> & "co", 1 (Softmax): no integer kernel' in page.locator("#floats").inner_text()
