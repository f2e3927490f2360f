"""The view in 3D in a real browser: with WebGL 2 (in software) and without, from the disk, offline."""

import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gbmlib.viewer.volume_viewer import BUNDLE, NIIVUE, volume

NAMES = {1: "core", 2: "oedema", 3: "enhancing"}
LOADING = 180_000  # milliseconds; drawing in software takes its time on a busy machine
SKY, YELLOW = (86, 180, 233), (240, 228, 66)


def _beside(name: str):
    """A module of this folder: tests are no package, and other folders have a ``conftest`` too."""
    spec = importlib.util.spec_from_file_location(f"browser_{Path(name).stem}", Path(__file__).parent / name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


axe, conftest = _beside("axe/axe.py"), _beside("conftest.py")


def made(**arguments):
    """A block of brain with a core in front on the right, and oedema behind it."""
    image, truth = np.zeros((24, 28, 20), np.float32), np.zeros((24, 28, 20), np.uint8)
    image[2:22, 2:26, 2:18] = 500
    truth[10:18, 16:24, 10:16] = 1
    truth[10:18, 8:16, 10:16] = 2
    usual = {"truth": truth, "prediction": np.roll(truth, -6, 2), "title": "A case"}
    return volume({"t1ce": image}, names=NAMES, spacing=(4, 4, 4), mode="static", **{**usual, **arguments})


@pytest.fixture
def opened(browser_page, tmp_path):
    """A view's own page, small, so that it is drawn fast."""

    def opened(view=None, width=360, height=600, **context):
        page = browser_page.open((view or made()).save(tmp_path / "case.html"), width=width, height=height, **context)
        page.set_default_timeout(LOADING)
        return page

    return opened


def show(page):
    page.get_by_role("button", name="Show in 3D").click()
    page.wait_for_selector(".gbm-volume[data-ready]")
    settled(page)
    return page


def settled(page) -> None:
    page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")


def coloured(page, colour: tuple[int, int, int]) -> tuple[float, float] | None:
    """The middle of what has about a colour's hue on the stage, (from the left, from the top) as shares, if any."""
    settled(page)
    shot = Image.open(io.BytesIO(page.locator(".gbm-volume-stage").screenshot())).convert("RGB")
    pixels = np.asarray(shot).astype(float)
    size = np.linalg.norm(pixels, axis=2)
    alike = (pixels @ np.array(colour, float)) / np.maximum(size * np.linalg.norm(colour), 1)
    at = np.nonzero((alike > 0.985) & (size > 90))
    return None if len(at[0]) < 30 else (at[1].mean() / pixels.shape[1], at[0].mean() / pixels.shape[0])


def state(page) -> dict:
    return page.evaluate("({ ...document.querySelector('.gbm-volume').view.state, on: undefined })")


def test_before_3d_the_page_is_a_picture_words_and_a_button(opened):
    page = opened()
    assert page.evaluate("window.niivue") is None
    assert page.locator("canvas").count() == 0
    picture = page.get_by_role("img")
    assert picture.evaluate("e => e.naturalWidth > 300 && e.complete")
    assert "The gold standard holds" in picture.get_attribute("alt")
    assert "ml core" in page.locator("p.gbm-hint").text_content()
    assert page.get_by_role("button", name="Show in 3D (loads 2.3 MB)").count() == 1
    assert axe.findings(page) == []


@pytest.mark.slow
def test_the_case_stands_as_it_lies_and_layers_switch(opened):
    page = show(opened())
    page.get_by_role("button", name="Right", exact=True).click()
    core, oedema = coloured(page, YELLOW), coloured(page, SKY)
    assert core[0] > oedema[0]  # from the right, the face is on the right
    page.get_by_role("button", name="Left", exact=True).click()
    assert coloured(page, YELLOW)[0] < coloured(page, SKY)[0]
    page.get_by_role("button", name="Front", exact=True).click()
    assert coloured(page, YELLOW)[0] < 0.5  # the patient's right is on our left
    page.get_by_role("radio", name="prediction").check()
    assert coloured(page, YELLOW)[0] > 0.5
    page.get_by_role("button", name="Above", exact=True).click()
    core, oedema = coloured(page, YELLOW), coloured(page, SKY)
    assert core[1] < oedema[1]  # the face is up
    assert core[0] < 0.5
    page.get_by_role("button", name="Below", exact=True).click()
    core, oedema = coloured(page, YELLOW), coloured(page, SKY)
    assert core[1] < oedema[1]
    assert core[0] > 0.5  # the prediction lies on the left, which is on the right as in a slice
    page.get_by_role("checkbox", name="core").uncheck()
    assert coloured(page, YELLOW) is None
    assert coloured(page, SKY) is not None
    page.get_by_role("checkbox", name="oedema").uncheck()
    page.get_by_role("radio", name="Off").check()
    settled(page)
    stage = page.locator(".gbm-volume-stage canvas")
    assert stage.evaluate("e => e.clientWidth > 100")
    assert axe.findings(page) == []


@pytest.mark.slow
def test_a_cut_takes_away_the_side_it_names(opened):
    """Of a brain with no label inside, the cut goes through the middle: the near half is gone."""
    page = show(opened(made(truth=None, prediction=None)))

    def extent() -> tuple[int, int]:
        """Rows and columns in which there is brain."""
        settled(page)
        shot = np.asarray(Image.open(io.BytesIO(page.locator(".gbm-volume-stage").screenshot())).convert("L"))
        bright = shot[10:-10, 10:-10] > 60  # without the frame of a picture that is held
        return int(bright.any(1).sum()), int(bright.any(0).sum())

    page.get_by_role("radio", name="Solid").check()
    page.get_by_role("button", name="Front", exact=True).click()
    high, wide = extent()
    page.get_by_role("radio", name="Above").check()
    cut_high, same_wide = extent()
    assert cut_high == pytest.approx(high / 2, rel=0.15)
    assert same_wide == pytest.approx(wide, rel=0.1)
    page.get_by_role("radio", name="Right").check()
    same_high, cut_wide = extent()
    assert same_high == pytest.approx(high, rel=0.1)
    assert cut_wide == pytest.approx(wide / 2, rel=0.15)


@pytest.mark.slow
def test_keys_wheel_and_mouse_turn_a_picture_that_is_held(opened):
    page = show(opened())
    stage = page.locator(".gbm-volume-stage")
    before = state(page)
    assert before["azimuth"] == 230  # the labels are on the right
    assert page.evaluate("document.activeElement.matches('.gbm-volume-stage')")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    assert (state(page)["azimuth"], state(page)["elevation"]) == (240, 30)
    page.keyboard.press("+")
    assert state(page)["zoom"] == pytest.approx(1.3 * 1.25)
    page.keyboard.press("Home")
    assert (state(page)["azimuth"], state(page)["zoom"]) == (230, 1.3)
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 70, steps=2)
    page.mouse.up()
    assert (state(page)["azimuth"], state(page)["elevation"]) == (250, 30)
    page.mouse.wheel(0, -200)
    page.wait_for_function("document.querySelector('.gbm-volume').view.state.zoom > 1.31")
    page.keyboard.press("Escape")
    held = state(page)
    page.keyboard.press("ArrowRight")
    assert state(page) == held
    settled(page)
    assert "azimuth 250°, elevation 30°" in stage.get_attribute("aria-label")
    page.get_by_role("button", name="Back to the picture").click()
    assert page.get_by_role("img").count() == 1
    assert page.locator("canvas").count() == 0
    assert page.evaluate("document.activeElement.textContent").startswith("Show in 3D")


@pytest.mark.slow
def test_on_a_phone_a_finger_turns_it_only_when_it_is_held(opened):
    page = show(opened(width=390, height=700, has_touch=True, is_mobile=True))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    targets = page.locator(".gbm-volume button, .gbm-choice span, .gbm-switch").all()
    assert min(target.bounding_box()["height"] for target in targets) >= 43.5
    stage = page.locator(".gbm-volume-stage")
    touch = "e => getComputedStyle(e).touchAction"
    assert stage.evaluate(touch) == "none"
    finger = page.context.new_cdp_session(page)
    box = stage.bounding_box()
    x, y = box["x"] + 80, box["y"] + 80
    before = state(page)
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x + 60, "y": y}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert state(page)["azimuth"] == pytest.approx((before["azimuth"] + 30) % 360, abs=8)
    stage.evaluate("e => e.blur()")
    assert stage.evaluate(touch) == "manipulation"


def test_without_webgl_a_sentence_says_so_and_the_picture_stays(browser, tmp_path):
    """In a Chromium that has no WebGL at all."""
    path = made().save(tmp_path / "case.html")
    without = browser.browser_type.launch(
        executable_path=conftest.chromium(), args=[*conftest.ARGUMENTS, "--disable-3d-apis"]
    )
    pages = conftest.BrowserPage(without)
    try:
        page = pages.open(path, width=390)
        assert page.evaluate("document.createElement('canvas').getContext('webgl2')") is None
        page.get_by_role("button", name="Show in 3D").click()
        assert "no WebGL 2" in page.get_by_role("alert").text_content()
        assert page.get_by_role("img").is_visible()
        assert page.evaluate("window.niivue") is None  # nothing was loaded in vain
        assert axe.findings(page) == []
        assert pages.complaints.none(), pages.complaints
    finally:
        pages.close()
        without.close()


# ----------------------------------------------------------------------------------------- a page of the book, its file


@pytest.fixture
def book(tmp_path):
    """A page two folders deep, as the book has them, with two views, and the script beside it."""

    def book(script: str | None):
        bundle = tmp_path / NIIVUE
        bundle.parent.mkdir(parents=True)
        if script is not None:
            bundle.write_text(script, encoding="utf-8")
        views = "\n".join(made(title=title)._repr_html_() for title in ("First", "Second"))
        path = tmp_path / "book" / "runs" / "page.html"
        path.parent.mkdir(parents=True)
        path.write_text(
            '<!doctype html><html lang="en" data-content_root="../../"><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width"><title>Page</title><main>{views}</main></html>',
            encoding="utf-8",
        )
        return path

    return book


@pytest.mark.slow
def test_the_books_script_is_fetched_once_and_only_when_a_reader_asks(browser_page, book):
    path = book("window.fetched = (window.fetched ?? 0) + 1;\n" + BUNDLE.read_text(encoding="utf-8"))
    page = browser_page.open(path, width=360, height=600)
    page.set_default_timeout(LOADING)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.fetched") is None
    for title in ("First", "Second"):
        view = page.get_by_role("group", name=f"View in 3D: {title}")
        view.get_by_role("button", name="Show in 3D").click()
        page.wait_for_selector(f'.gbm-volume[aria-label="View in 3D: {title}"][data-ready]')
    assert page.evaluate("window.fetched") == 1
    page.get_by_role("group", name="View in 3D: First").get_by_role("radio", name="Solid").check()
    assert page.get_by_role("group", name="View in 3D: Second").get_by_role("radio", name="See-through").is_checked()


def test_a_book_that_was_copied_without_its_script_says_which_file(browser_page, book):
    page = browser_page.open(book(None))
    page.get_by_role("button", name="Show in 3D").first.click()
    page.wait_for_selector("[role=alert]")
    assert NIIVUE in page.get_by_role("alert").text_content()
    assert page.get_by_role("button", name="Show in 3D").first.is_enabled()
    browser_page.complaints.console.clear()  # the browser's own word on the missing file


@pytest.mark.slow
def test_a_module_system_on_the_page_does_not_swallow_the_script(opened):
    page = opened()
    page.evaluate("() => { window.define = Object.assign(() => { throw new Error('defined') }, { amd: {} }) }")
    show(page)
    assert coloured(page, YELLOW) is not None
