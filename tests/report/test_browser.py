"""The page as a reader sees it in Chromium: on a desktop, on a phone, light, dark and on paper."""

import base64
import itertools

import numpy as np
import pytest

from browser import DESKTOP, PHONE, beyond_the_window, chromium, contrast, emulate, luminance, style, wait
from dreamer.logs.video import write_video
from dreamer.report.charts import LOOKS_OF_OURS
from dreamer.report.page import write_report

pytestmark = pytest.mark.browser

TASKS = ("walker_stand", "cartpole_balance")
LINES = "return [...document.querySelectorAll('.chart')][0].querySelectorAll('.line').length"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def page(make_run, curve, tmp_path):
    """A report of two tasks with three seeds each, and a film."""
    film = tmp_path / "film.mp4"
    write_video(film, np.zeros((8, 64, 64, 3), np.uint8))
    files = {"videos/evaluation-000100000.mp4": film.read_bytes()}
    runs = itertools.product(TASKS, range(3))
    paths = [make_run(f"{task}-{seed}", task, curve(600 + 50 * seed), seed, files) for task, seed in runs]
    return write_report(paths, tmp_path / "out").page


@pytest.fixture
def show(driver, page):
    """Open the page at a size and in a scheme, and return the driver once the charts are drawn."""

    def opened(size, scheme="light", media=""):
        emulate(driver, size, media, prefers_color_scheme=scheme)
        driver.get(page.as_uri())
        wait(lambda: driver.execute_script("return document.querySelectorAll('.chart svg').length") == 3)
        return driver

    return opened


def test_everything_is_drawn_from_disk_without_errors(show, page):
    driver = show(DESKTOP)
    # Ours, the official code, three of the paper, D4PG and A3C.
    assert driver.execute_script(LINES) == 7
    assert driver.get_log("browser") == []
    loaded = driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(name.startswith(page.parent.as_uri()) for name in loaded)


def test_single_evaluation_is_a_point_that_can_be_seen(driver, make_run, tmp_path):
    emulate(driver, DESKTOP, prefers_color_scheme="light")
    runs = [
        make_run(str(i), "walker_stand", {10_000: 300.0}, gamma=0.9 + i / 100) for i in range(LOOKS_OF_OURS)
    ]
    driver.get(write_report(runs, tmp_path / "out").page.as_uri())
    wait(
        lambda: (
            driver.execute_script("return document.querySelectorAll('.chart .point circle').length")
            == LOOKS_OF_OURS
        )
    )
    for i in range(LOOKS_OF_OURS):
        fill, opacity = style(driver, f".chart .point.ours{i}", "fill", "fillOpacity")
        assert (contrast(fill, "rgb(255, 255, 255)") >= 3, opacity) == (True, "1"), fill


def test_video_plays(show):
    driver = show(DESKTOP)
    driver.execute_script("document.querySelector('video').scrollIntoView()")
    wait(lambda: driver.execute_script("return document.querySelector('video').currentTime") > 0.11)
    driver.execute_script("document.getElementById('play').click()")
    assert driver.execute_script("return [...document.querySelectorAll('video')].every(v => v.paused)")


def test_curves_can_be_switched_off_and_on(show):
    driver = show(DESKTOP)
    before = driver.execute_script(LINES)
    chip = driver.find_element("css selector", "[data-series='paper-planet']")
    chip.click()
    assert chip.get_attribute("aria-pressed") == "false"
    assert driver.execute_script(LINES) == before - 1
    chip.click()
    assert driver.execute_script(LINES) == before


def test_pointer_and_keys_show_the_numbers(show):
    from selenium.webdriver import ActionChains, Keys

    driver = show(DESKTOP)
    chart, tip = (driver.find_element("css selector", f".chart {part}") for part in ("svg", ".tip"))
    assert not tip.is_displayed()
    ActionChains(driver).move_to_element(chart).perform()
    assert tip.is_displayed()
    head, *rows = tip.text.splitlines()
    middle = int(head.removesuffix(" frames").replace(",", ""))
    assert 40_000 < middle < 60_000
    assert "ours" in rows
    assert "official TF2 code" in rows
    ActionChains(driver).move_to_element(driver.find_element("css selector", "h1")).perform()
    assert not tip.is_displayed()
    chart.send_keys(Keys.ARROW_LEFT)
    assert tip.text.startswith(f"{middle - 5000:,} frames")


def test_numbers_stay_when_a_finger_is_lifted(show):
    driver = show(PHONE)
    chart, tip = (driver.find_element("css selector", f".chart {part}") for part in ("svg", ".tip"))

    def tap(element):
        driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        box = driver.execute_script("return arguments[0].getBoundingClientRect()", element)
        point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        touches = {"touchStart": [point], "touchEnd": []}
        for kind, points in touches.items():
            driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    tap(chart)
    wait(tip.is_displayed)
    assert "frames" in tip.text
    tap(driver.find_element("css selector", "h1"))
    wait(lambda: not tip.is_displayed())


def test_axes_follow_the_choice(show):
    driver = show(DESKTOP)

    def last_tick():
        chart = driver.find_element("css selector", ".chart svg")
        return chart.find_elements("css selector", "[aria-label='x-axis tick label'] text")[-1].text

    assert last_tick() == "100k"
    select = driver.find_element("id", "range")
    select.find_element("css selector", "[value='5000000']").click()
    assert last_tick() == "5M"


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_reaches_beyond_the_window(size, show):
    driver = show(size)
    assert beyond_the_window(driver) == 0
    for chart in driver.find_elements("css selector", ".chart svg"):
        assert chart.rect["x"] + chart.rect["width"] <= size[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_stand_out(scheme, show):
    driver = show(DESKTOP, scheme)
    (paper,) = style(driver, "body", "backgroundColor")
    assert (luminance(paper) > 0.5) == (scheme == "light")
    for selector in ("body", "small", ".verdict", "nav a"):
        (ink,) = style(driver, selector, "color")
        assert contrast(ink, paper) >= 4.5, selector
    for line in driver.find_elements("css selector", ".chip line"):
        assert contrast(line.value_of_css_property("stroke"), paper) >= 3, line.get_attribute("class")


def test_lines_differ_in_more_than_their_color(show):
    driver = show(DESKTOP)
    lines = driver.find_elements("css selector", ".chip line")
    looks = [
        (x.value_of_css_property("stroke-width"), x.value_of_css_property("stroke-dasharray")) for x in lines
    ]
    assert len(looks) == 7
    assert len(set(looks)) == 7
    # Round ends would fill the gaps between dashes.
    assert style(driver, ".chart .line path", "strokeLinecap") == ["butt"]


def test_paper_is_white_and_has_no_controls(show):
    driver = show(DESKTOP, "dark", media="print")
    assert style(driver, "body", "backgroundColor", "color") == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    for selector in ("nav", ".axes", "#videos"):
        assert style(driver, selector, "display") == ["none"]
    printed = driver.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
