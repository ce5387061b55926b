"""The page as a person uses it in Chromium, from disk and with the network off."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from browser import DESKTOP, PHONE, beyond_the_window, chromium, contrast, emulate, luminance, style, wait
from dreamer.errors import UserError
from dreamer.replay.store import EpisodeStore
from dreamer.storage.load import load_run
from dreamer.types import ActionSpec, EnvSpec
from dreamer.view.graphs import graphs, world_of
from dreamer.view.page import Dream, render
from dreamer.view.recording import Recording, record
from dreamer.view.runtime import read_runtime
from dreamer.world_model.rssm import State
from helpers import small_agent

pytestmark = pytest.mark.browser

START = "const done = arguments[arguments.length - 1], d = dreamer.dream; "


@pytest.fixture(scope="module")
def page(dream: Dream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of a run with two continuous actions, and a model with two groups of buttons."""
    try:
        runtime = read_runtime()
    except UserError as error:
        pytest.skip(str(error))
    file = tmp_path_factory.mktemp("page") / "dream.html"
    file.write_text(render([dream, with_buttons(dream)], runtime))
    return file


def with_buttons(dream: Dream) -> Dream:
    """The same page for an agent with discrete actions, three and two, and without a value model."""
    agent = small_agent(EnvSpec({"image": (32, 32, 1)}, {}, ActionSpec(5, (3, 2))), agent="no-value")
    rssm, rng = world_of(agent).world_model.rssm, np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 32, 32, 3), np.uint8)
    action = np.tile(np.array([1, 0, 0, 1, 0], np.float32), (4, 1))
    stoch, deter = (rng.standard_normal((4, size), np.float32) for size in (rssm.stoch, rssm.deter))
    recording = Recording(images, action, np.zeros(4, np.float32), stoch, deter)
    sizes = {"stoch": rssm.stoch, "deter": rssm.deter, "action": 5}
    facts = {
        "name": "buttons",
        "task": "buttons",
        "sizes": sizes,
        "groups": (3, 2),
        "act_noise": 1,
        "steps": 4,
    }
    parts = {**graphs(agent), "numbers": recording.numbers(), "sheet": recording.sheet()}
    return replace(dream, facts={**dream.facts, **facts, "height": 32, "width": 32}, parts=parts)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        driver.set_script_timeout(60)
        yield driver


@pytest.fixture
def show(driver: Any, page: Path) -> Any:
    """Open the page, paused at its first moment, and return the driver once it can be used."""

    def opened(size: tuple[int, int] = DESKTOP, **features: str) -> Any:
        emulate(driver, size, **{"prefers_reduced_motion": "reduce", **features})
        driver.get(page.as_uri())
        ready = (
            "return document.documentElement.dataset.ready || document.getElementById('problem').textContent"
        )
        wait(lambda: driver.execute_script(ready), 90)
        assert not text(driver, "problem")
        return driver

    return opened


def text(driver: Any, name: str) -> str:
    return driver.execute_script("return document.getElementById(arguments[0]).textContent", name)


def at(driver: Any) -> int:
    return driver.execute_script("return dreamer.dream.at")


def press(driver: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(driver).send_keys(*keys).perform()


def test_page_opens_from_disk_without_a_network_and_without_errors(show: Any, page: Path) -> None:
    driver = show()
    assert driver.execute_script("return navigator.onLine") is False
    assert driver.get_log("browser") == []
    loaded = driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(name.startswith(("blob:", "data:", page.as_uri())) for name in loaded)
    assert float(text(driver, "fps")) > 0


def test_ten_steered_steps_are_those_of_the_python_model(show: Any, run: Path) -> None:
    """Within one of 255 levels: both compute in float32, and round to whole levels."""
    trained = load_run(run, device="cpu", fast=False)
    world_model = world_of(trained.agent).world_model
    recording = record(trained.agent, EpisodeStore(trained.directory.replay, mode="r"))
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (10, 2)).astype(np.float32)
    noise = rng.standard_normal((10, world_model.rssm.stoch), np.float32)

    stoch, deter = torch.from_numpy(recording.stoch[7:8]), torch.from_numpy(recording.deter[7:8])
    state, expected = State(stoch, stoch, stoch, deter), []
    with torch.no_grad():
        for action, drawn in zip(actions, noise, strict=True):
            state = world_model.rssm.imagine_step(
                state, torch.tensor(action[None]), torch.tensor(drawn[None])
            )
            image = world_model.decoder(state.feat)["image"] + 0.5
            expected.append((image.clamp(0, 1) * 255).round().numpy()[0])

    script = """(async () => {
      await d.begin(7);
      const images = [];
      for (let i = 0; i < 10; i++) {
        await d.step(Float32Array.from(arguments[0][i]), false, Float32Array.from(arguments[1][i]));
        images.push([...d.images]);
      }
      return images;
    })().then(done)"""
    images = show().execute_async_script(START + script, actions.tolist(), noise.tolist())
    rgba = np.array(images).reshape(10, 64, 64, 4)
    assert (rgba[..., 3] == 255).all()
    assert np.abs(rgba[..., :3] - np.array(expected)).max() <= 1


def test_recorded_images_arrive_without_loss(show: Any, run: Path) -> None:
    trained = load_run(run, device="cpu", fast=False)
    recording = record(trained.agent, EpisodeStore(trained.directory.replay, mode="r"))
    for t in (0, len(recording.images) - 1):
        pixels = show().execute_script("return [...dreamer.dream.recording.image(arguments[0])]", t)
        assert np.array_equal(np.reshape(pixels, (64, 64, 4))[..., :3], recording.images[t])


def test_keys_steer_and_take_over(show: Any) -> None:
    from selenium.webdriver import ActionChains

    driver = show()
    assert driver.execute_script("return document.querySelector('[name=who]:checked').value") == "actor"
    ActionChains(driver).key_down("q").key_down("s").perform()
    wait(lambda: at(driver) > 2)
    now = driver.execute_script("return [...dreamer.dream.now.action]")
    ActionChains(driver).key_up("q").key_up("s").perform()
    assert now == [1, -1]
    assert driver.execute_script("return document.querySelector('[name=who]:checked').value") == "you"
    begun = at(driver)
    wait(lambda: at(driver) > begun + 1)
    assert driver.execute_script("return [...dreamer.dream.now.action]") == [0, 0]


def test_arrow_keys_steer_after_a_click(show: Any) -> None:
    from selenium.webdriver import ActionChains, Keys

    driver = show()
    driver.find_element("css selector", ".choice label:has([value=you])").click()
    wait(lambda: driver.execute_script("return document.activeElement === document.body"))
    ActionChains(driver).key_down(Keys.ARROW_RIGHT).key_down(Keys.ARROW_DOWN).perform()
    wait(lambda: driver.execute_script("return dreamer.dream.now.action.join()") == "1,-1")
    assert driver.execute_script("return document.querySelector('[name=who]:checked').value") == "you"
    ActionChains(driver).key_up(Keys.ARROW_RIGHT).key_up(Keys.ARROW_DOWN).perform()


def test_sliders_steer_and_spring_back(show: Any) -> None:
    from selenium.webdriver import ActionChains

    driver = show()
    slider = driver.find_element("id", "action-1")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
    right = int(slider.size["width"] / 2) - 3
    ActionChains(driver).move_to_element(slider).click_and_hold().move_by_offset(right, 0).perform()
    wait(lambda: at(driver) > 1)
    first, second = driver.execute_script("return [...dreamer.dream.now.action]")
    assert (first, second > 0.9) == (0, True)
    ActionChains(driver).release().perform()
    begun = at(driver)
    wait(lambda: at(driver) > begun + 1)
    assert driver.execute_script("return [...dreamer.dream.now.action]") == [0, 0]


def test_finger_steers_on_a_phone(show: Any) -> None:
    driver = show(PHONE)
    rect = driver.execute_script(
        "return document.getElementById('action-0').getBoundingClientRect().toJSON()"
    )
    place = {"x": rect["left"] + 12, "y": rect["top"] + rect["height"] / 2}
    touch = "Input.dispatchTouchEvent"
    driver.execute_cdp_cmd(touch, {"type": "touchStart", "touchPoints": [place | {"x": rect["left"] + 60}]})
    driver.execute_cdp_cmd(touch, {"type": "touchMove", "touchPoints": [place]})
    wait(lambda: at(driver) > 1 and driver.execute_script("return dreamer.dream.now.action[0]") < -0.9)
    driver.execute_cdp_cmd(touch, {"type": "touchEnd", "touchPoints": []})
    wait(lambda: driver.execute_script("return dreamer.dream.now.action[0]") == 0)


def test_gamepad_steers(show: Any) -> None:
    driver = show()
    pad = "navigator.getGamepads = () => [{axes: [0.5, -1], buttons: [{pressed: false}, {pressed: false}]}]"
    driver.execute_script(pad)
    wait(lambda: at(driver) > 1)
    assert driver.execute_script("return [...dreamer.dream.now.action]") == [0.5, -1]
    driver.execute_script(pad.replace("pressed: false", "pressed: true", 1))
    wait(lambda: text(driver, "acting") == "paused")


def test_unplugged_gamepad_lets_go(show: Any) -> None:
    driver = show()
    driver.execute_script("navigator.getGamepads = () => [{axes: [1, 0], buttons: []}]")
    wait(lambda: driver.execute_script("return dreamer.dream.now.action.join()") == "1,0")
    driver.execute_script("navigator.getGamepads = () => [null]")
    wait(lambda: driver.execute_script("return dreamer.dream.now.action.join()") == "0,0")


def test_drag_across_the_image_pushes_the_first_action_while_a_gamepad_rests(show: Any) -> None:
    from selenium.webdriver import ActionChains

    driver = show()
    driver.execute_script("navigator.getGamepads = () => [{axes: [0.01, 0], buttons: []}]")
    screen = driver.find_element("id", "dream")
    drag = ActionChains(driver).move_to_element(screen).click_and_hold().move_by_offset(200, 0)
    drag.perform()
    wait(lambda: at(driver) > 1)
    assert driver.execute_script("return [...dreamer.dream.now.action]") == [1, 0]
    ActionChains(driver).release().perform()


def test_pause_step_rewind_and_restart(show: Any) -> None:
    from selenium.webdriver import Keys

    driver = show()
    assert text(driver, "play-name") == "Play"
    press(driver, " ")
    wait(lambda: at(driver) >= 5)
    assert text(driver, "play-name") == "Pause"
    press(driver, " ")
    wait(lambda: text(driver, "acting") == "paused")
    stopped = at(driver)
    press(driver, ",", ",")
    wait(lambda: at(driver) == stopped - 2)
    press(driver, ".", ".", ".")
    wait(lambda: at(driver) == stopped + 1)
    press(driver, Keys.BACKSPACE)
    wait(lambda: at(driver) == 0 and driver.execute_script("return dreamer.dream.moments.length") == 1)


def test_rewinding_shows_the_same_image_again(show: Any) -> None:
    script = """(async () => {
      await d.begin(3);
      const seen = [];
      for (let i = 0; i < 4; i++) { await d.step(new Float32Array([1, 0])); seen.push(d.images.join()); }
      await d.seek(2);
      const again = d.images.join();
      await d.step(new Float32Array([1, 0]), false, new Float32Array(d.facts.sizes.stoch));
      return [again === seen[1], d.moments.length, d.at];
    })().then(done)"""
    assert show().execute_async_script(START + script) == [True, 4, 3]


def test_recording_is_compared_as_long_as_its_actions_are_taken(show: Any) -> None:
    driver = show()
    press(driver, "4")
    wait(lambda: at(driver) >= 5)
    errors = "return dreamer.dream.moments.map(moment => moment.error)"
    assert all(0 <= error < 1 for error in driver.execute_script(errors))
    wait(lambda: text(driver, "recorded") == "same actions")
    press(driver, "3")
    wait(lambda: driver.execute_script("return dreamer.dream.now.error") is None)
    wait(lambda: "idle" in driver.find_element("id", "beside").get_attribute("class"))


def test_recording_stops_at_its_end(show: Any) -> None:
    driver = show()
    driver.execute_async_script(START + "dreamer.begin(d.recording.length - 3).then(done)")
    press(driver, "4")
    wait(lambda: at(driver) == 2 and text(driver, "acting") == "paused")


def test_several_futures_differ_and_one_goes_on(show: Any) -> None:
    driver = show()
    driver.find_element("css selector", "#count option:nth-child(2)").click()
    wait(lambda: len(driver.find_elements("css selector", "#futures button")) == 4)
    press(driver, ".", ".", ".")
    wait(lambda: at(driver) == 3)
    script = "const n = dreamer.dream.now; return [n.stoch.length, new Set(n.reward).size, [...n.deter]]"
    numbers, rewards, deter = driver.execute_script(script)
    assert numbers == 4 * 4
    assert rewards == 4
    driver.find_elements("css selector", "#futures button")[2].click()
    wait(lambda: driver.execute_script("return dreamer.dream.futures") == 1)
    chosen = driver.execute_script("return [...dreamer.dream.now.deter]")
    assert chosen == deter[2 * len(chosen) : 3 * len(chosen)]


def test_another_run_of_the_gallery_takes_its_place_with_buttons(show: Any) -> None:
    driver = show()
    driver.execute_script("document.querySelectorAll('[name=run]')[1].click()")
    wait(lambda: len(driver.find_elements("css selector", ".buttons button")) == 5)
    assert text(driver, "task") == "buttons"
    assert not driver.find_element("css selector", "[data-trace=value]").is_displayed()
    wait(lambda: driver.execute_script("return dreamer.dream.start") == 1)
    press(driver, ".", ".")  # the actor's
    wait(lambda: at(driver) == 2)
    groups = driver.execute_script(
        "const a = [...dreamer.dream.now.action]; return [a.slice(0, 3), a.slice(3)]"
    )
    assert [sorted(group) for group in groups] == [[0, 0, 1], [0, 1]]
    press(driver, "e", "s")
    wait(lambda: driver.execute_script("return dreamer.dream.now.action.join()") == "0,0,1,0,1")
    buttons = "Array.from({length: 6}, (_, i) => ({pressed: [3, 5].includes(i)}))"  # the second choice, and the fourth
    driver.execute_script(f"navigator.getGamepads = () => [{{axes: [], buttons: {buttons}}}]")
    wait(lambda: driver.execute_script("return dreamer.dream.now.action.join()") == "0,1,0,1,0")
    driver.execute_script("navigator.getGamepads = () => []")
    assert driver.get_log("browser") == []


def test_page_plays_by_itself_unless_motion_is_unwelcome(show: Any) -> None:
    assert text(show(), "acting") == "paused"
    driver = show(prefers_reduced_motion="no-preference")
    wait(lambda: at(driver) > 3)


@pytest.mark.parametrize("size", [DESKTOP, PHONE, (768, 1024)], ids=["desktop", "phone", "tablet"])
def test_nothing_reaches_beyond_the_window(size: tuple[int, int], show: Any) -> None:
    driver = show(size)
    assert beyond_the_window(driver) == 0
    screen, play = (driver.find_element("css selector", name).rect for name in ("#dream", "#play"))
    assert screen["width"] == screen["height"] >= 340
    assert play["height"] >= 38
    assert play["y"] + play["height"] < size[1]  # seen without scrolling


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_stand_out(scheme: str, show: Any) -> None:
    driver = show(prefers_color_scheme=scheme)
    (paper,) = style(driver, "body", "backgroundColor")
    assert (luminance(paper) > 0.5) == (scheme == "light")
    for selector in ("body", ".traces small", ".lead", "kbd", "figcaption span"):
        (ink,) = style(driver, selector, "color")
        assert contrast(ink, paper) >= 4.5, selector
    for name in ("--dream", "--recorded"):
        color = driver.execute_script(
            "document.body.style.outlineColor = `var(${arguments[0]})`;"
            "return getComputedStyle(document.body).outlineColor",
            name,
        )
        assert contrast(color, paper) >= 3, name


@pytest.mark.parametrize("missing", ["WebAssembly", "DecompressionStream"])
def test_old_browser_gets_a_sentence(missing: str, driver: Any, page: Path) -> None:
    source = {"source": f"delete window.{missing}"}
    script = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", source)
    try:
        driver.get(page.as_uri())
        wait(lambda: driver.find_element("id", "problem").is_displayed())
    finally:
        driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    assert "needs a browser with WebAssembly" in text(driver, "problem")
    assert not driver.find_element("id", "loading").is_displayed()
    assert driver.get_log("browser") == []
