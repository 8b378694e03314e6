"""The leaderboard's page in a real browser: hostile texts stay inert, and everything works.

Screenshots are written below TASKLOOM_SCREENSHOTS where that is set, for people to look at.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eval.leaderboard import build_leaderboard, write_leaderboard
from tests.fixtures.chromium import CHROMIUM, Chromium
from tests.unit.eval.test_leaderboard import HOSTILE, make_task, run, write_training

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

SIZES = {"wide": (1400, 1000), "narrow": (420, 900)}
PAYLOADS = [text.replace("alert(1)", f"alert({number})") for number, text in enumerate(HOSTILE)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = Chromium(tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory) -> Path:
    """Every payload as a task, a label, a prompt and an answer; some as names of models."""
    folder = tmp_path_factory.mktemp("hostile")
    tasks = []
    for number, text in enumerate(PAYLOADS):
        labels = (text.strip() or "x", "no")
        name = f"family {number % 4}/{text}"
        tasks.append(make_task(name, labels=labels, targets=labels * 2, text=text))
    for number, text in enumerate(PAYLOADS[:4]):
        for answer in (text, "no"):
            about = {"model": text, "adapter": f"{text} {answer[:2]}"}
            run(folder / f"{number}{answer == 'no'}", tasks, answer, **about)
    folders = [folder / f"{number}{is_no}" for number in range(4) for is_no in (True, False)]
    write_training(folder / "0True", [tasks[0].spec.id], {})
    return write_leaderboard(build_leaderboard(folders), folder / "out")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    tasks = [
        make_task(f"{family}/task {number}", targets=("yes",) * (number + 2) + ("no",) * 3)
        for family in ("biomedical", "dna")
        for number in range(3)
    ]
    run(folder / "base", tasks, "no")
    run(folder / "adapter", tasks, "yes", adapter="mine")
    run(folder / "silent", tasks, "what?", model="silent")
    folders = [folder / name for name in ("base", "adapter", "silent")]
    return write_leaderboard(build_leaderboard(folders), folder / "out")


def show(browser: Chromium, page: Path, *, size: str, scheme: str) -> None:
    width, height = SIZES[size]
    browser.open(page, width=width, height=height, scheme=scheme)
    place = os.environ.get("TASKLOOM_SCREENSHOTS")
    if place:
        name = f"{page.parent.parent.name}-{size}-{scheme}.png"
        browser.screenshot(Path(place) / name, whole=True)


def check_quiet(browser: Chromium, page: Path) -> None:
    """Nothing ran, nothing failed, nothing was loaded."""
    assert browser.dialogs == []
    assert browser.errors == []
    assert set(browser.requests) == {page.resolve().as_uri()}


def test_what_would_run_is_noticed(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text(
        "<!doctype html><meta charset=utf-8><script>alert(7)</script>"
        "<img src=data:image/png,x onerror='alert(8)'><img src=missing.png>"
        "<script>nothing()</script>"
    )
    browser.open(path, width=400, height=400, scheme="light")
    assert browser.dialogs == ["7", "8"]
    assert any("nothing is not defined" in error for error in browser.errors)
    assert any("missing.png" in url for url in browser.requests)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_hostile_texts_stay_texts(browser, hostile_page, size, scheme):
    show(browser, hostile_page, size=size, scheme=scheme)
    assert len(PAYLOADS) * 4 >= 200
    browser.run("for (const task of document.querySelectorAll('details')) task.open = true")
    browser.run("for (const button of document.querySelectorAll('.board button')) button.click()")
    browser.run("for (const node of document.querySelectorAll('body *')) node.onmouseover?.()")
    shown = browser.run("document.body.innerText")
    assert "<script>alert(0)</script>" in shown
    assert browser.run("document.querySelectorAll('img, iframe, object, form, a').length") == 0
    assert browser.run("document.scripts.length") == 1
    check_quiet(browser, hostile_page)


@pytest.mark.parametrize("size", SIZES)
def test_nothing_but_tables_is_wider_than_the_window(browser, page, hostile_page, size):
    for shown in (page, hostile_page):
        show(browser, shown, size=size, scheme="light")
        browser.run("for (const task of document.querySelectorAll('details')) task.open = true")
        assert browser.run("document.documentElement.scrollWidth") <= SIZES[size][0]


def test_text_can_be_read_in_both_schemes(browser, page):
    colours = []
    for scheme in ("light", "dark"):
        show(browser, page, size="wide", scheme=scheme)
        pair = "getComputedStyle(document.body)"
        colours.append((browser.run(f"{pair}.color"), browser.run(f"{pair}.backgroundColor")))
    assert colours[0] != colours[1]
    assert min(contrast(*pair) for pair in colours) >= 7


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours, as the guidelines on accessible pages define it."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour.removeprefix("rgb(").strip(")").split(",")]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


NAMES = "[...document.querySelectorAll('.board tbody .run')].map((node) => node.innerText.split('\\n')[0])"  # noqa: E501
VISIBLE = "document.querySelectorAll('.task:not([hidden])').length"


def test_the_table_sorts_filters_and_hides(browser, page):
    show(browser, page, size="wide", scheme="light")
    click = "document.querySelectorAll('.board thead tr:last-child button')[{}].click()"
    values = "[...document.querySelectorAll('.board tbody tr')].map((row) => Number(row.cells[1].dataset.sort))"  # noqa: E501
    browser.run(click.format(1))
    falling = browser.run(values)
    assert falling == sorted(falling, reverse=True)
    assert len(set(falling)) > 1
    browser.run(click.format(1))
    assert browser.run(values) == sorted(falling)
    browser.run(click.format(0))
    assert browser.run(NAMES) == sorted(browser.run(NAMES), key=str.lower)
    type_in = (
        "(() => {{ const field = document.querySelector('#filter'); field.value = {!r}; "
        "field.dispatchEvent(new Event('input')); }})()"
    )
    browser.run(type_in.format("dna task 1"))
    assert browser.run(VISIBLE) == 1
    browser.run(type_in.format("no such thing"))
    assert browser.run("document.querySelector('#no-match').hidden") is False
    browser.run(type_in.format(""))
    assert browser.run(VISIBLE) == 6
    cells = "document.querySelectorAll('.board tbody tr:first-child > :not([hidden])').length"
    before = browser.run(cells)
    browser.run("document.querySelectorAll('.controls button')[0].click()")
    assert browser.run(cells) == before - 4
    check_quiet(browser, page)


def test_a_task_opens_by_click_and_by_its_link(browser, page):
    show(browser, page, size="narrow", scheme="dark")
    is_open = "document.querySelector('#task-{}').open"
    assert browser.run(is_open.format(2)) is False
    browser.run("document.querySelector('#task-2 summary').click()")
    assert browser.run(is_open.format(2)) is True
    shown = browser.run("document.querySelector('#task-2').innerText")
    assert "target" in shown
    assert "not a label" in shown
    browser.run("location.hash = 'task-5'")
    assert browser.run("new Promise((done) => setTimeout(done, 50)).then(() => 1) && 1") == 1
    browser.ask("Page.captureScreenshot")
    assert browser.run(is_open.format(5)) is True
    check_quiet(browser, page)
