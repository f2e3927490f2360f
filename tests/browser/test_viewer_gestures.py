"""What a reader does with the pictures of the viewer: point, zoom, pan, window, compare, fill the screen."""

import pytest
from test_viewer_page import click, colour_at, labels, made, place, position, readout, settled, style

VOXELS = [(9, 20, 12), (9, 12, 20)]


def state(page, name: str):
    settled(page)
    return page.evaluate(f"document.querySelector('.gbm-viewer').viewer.state.{name}")


def at(page, voxel, plane: int = 0) -> tuple[float, float]:
    """Where a voxel lies on the screen, in a picture that is not zoomed."""
    box = page.locator(".gbm-plane canvas").nth(plane).bounding_box()
    x, y = place(plane, voxel)
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(page, start, by: tuple[float, float], button: str = "left") -> None:
    page.mouse.move(*start)
    page.mouse.down(button=button)
    page.mouse.move(start[0] + by[0], start[1] + by[1], steps=3)
    page.mouse.up(button=button)


def test_the_readout_follows_the_pointer_and_goes_back_to_the_crosshair(opened):
    truth, _ = labels()
    page = opened(made(overlays={"other": truth}))
    names = {0: "–", 2: "oedema", 3: "enhancing"}
    for voxel in [(9, 16, 13), (9, 20, 9), (9, 30, 20)]:
        page.mouse.move(*at(page, voxel))
        said = readout(page)
        assert said["voxel (z, y, x)"] == ", ".join(map(str, voxel))
        assert said["mm (z, y, x)"] == f"{3 * voxel[0]}.0, {voxel[1]}.0, {voxel[2]}.0"
        assert said["gold standard"] == names[truth[voxel]]
        assert "other" not in said  # it is not shown
    assert position(page) == (9, 12, 10)
    style(page, "other", "outline")
    page.mouse.move(1, 1)
    said = readout(page)
    assert said["voxel (z, y, x)"] == "9, 12, 10"
    assert said["other"] == said["gold standard"] == "oedema"


def test_each_prediction_has_its_dice_beside_its_switch(opened):
    truth, moved = labels()
    page = opened(made(prediction=None, overlays={"U-Net": moved, "V-Net": truth}))
    assert page.locator(".gbm-pick small").all_text_contents() == ["Dice 0.80", "Dice 1.00"]
    assert page.get_by_role("combobox", name="U-Net").input_value() == "fill"


def test_any_two_can_be_compared(opened):
    truth, moved = labels()
    page = opened(made(truth=None, prediction=None, overlays={"one": truth, "two": moved, "three": truth}))
    page.get_by_role("slider", name="Fill opacity").fill("1")
    style(page, "one", "off")
    page.get_by_label("Show where they differ").check()
    assert colour_at(page, 0, (9, 20, 8)) == (204, 121, 167)
    assert "one only" in page.locator(".gbm-legend").text_content()
    style(page, "The other", "three")
    assert len(set(colour_at(page, 0, (9, 20, 8)))) == 1
    style(page, "The one", "two")
    assert colour_at(page, 0, (9, 20, 8)) == (0, 158, 115)
    assert "three only" in page.locator(".gbm-legend").text_content()


def test_pictures_side_by_side_can_be_compared_with_any_of_them(opened):
    truth, moved = labels()
    page = opened(made(prediction=None, overlays={"one": truth, "other": moved}, side_by_side=True))
    page.get_by_label("Show where they differ").check()
    style(page, "The one", "other")
    page.get_by_role("slider", name="Fill opacity").fill("1")
    assert colour_at(page, 0, (9, 20, 8), 0) == (0, 158, 115)  # in this one only
    assert len(set(colour_at(page, 0, (9, 20, 8), 1))) == 1


def test_only_a_held_picture_zooms_and_what_is_under_the_pointer_stays_there(opened):
    page = opened(made())
    voxel = (9, 16, 13)
    page.mouse.move(*at(page, voxel))
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.wait_for_timeout(100)
    assert state(page, "zoom") == 1
    page.keyboard.up("Control")
    click(page, 0, VOXELS[0])
    page.mouse.move(*at(page, voxel))
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.wait_for_function("document.querySelector('.gbm-viewer').viewer.state.zoom > 2")
    page.keyboard.up("Control")
    x, y = at(page, voxel)
    page.mouse.move(x + 1, y + 1)
    assert readout(page)["voxel (z, y, x)"] == "9, 16, 13"
    page.mouse.click(x, y)
    assert position(page) == voxel


def test_keys_and_buttons_zoom_panning_moves_and_a_double_click_resets(opened):
    truth, moved = labels()
    page = opened(made(prediction=None, overlays={"one": truth, "other": moved}, side_by_side=True))
    plain = [colour_at(page, 0, (9, 30, 20), picture) for picture in (0, 1)]
    page.get_by_role("button", name="Zoom in").click()
    page.locator(".gbm-plane canvas").first.focus()
    page.keyboard.press("+")
    assert state(page, "zoom") == pytest.approx(2.25)
    assert [colour_at(page, 0, (9, 30, 20), picture) for picture in (0, 1)] != plain
    before, where = state(page, "edges"), position(page)
    start = at(page, (9, 20, 15))
    drag(page, start, (-30, -20), "middle")
    assert [after > edge for after, edge in zip(state(page, "edges"), before, strict=True)] == [False, True, True]
    page.keyboard.down("Shift")
    drag(page, start, (30, 20))
    page.keyboard.up("Shift")
    assert state(page, "edges") == pytest.approx(before)
    assert position(page) == where
    page.keyboard.press("-")
    assert state(page, "zoom") == pytest.approx(1.5)
    page.mouse.dblclick(*start)
    assert (state(page, "zoom"), state(page, "edges")) == (1, [0, 0, 0])


def test_the_view_follows_a_crosshair_that_leaves_it(opened):
    page = opened(made())
    for _ in range(3):
        page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("slider", name="Sagittal slice").fill("27")
    zoom, edges = state(page, "zoom"), state(page, "edges")
    share = 1 - (27 - 1 + 0.5) / 28
    assert edges[2] - 0.02 <= share <= edges[2] + 1 / zoom


def test_the_right_button_sets_brightness_and_contrast(opened):
    page = opened(made(truth=None, prediction=None))
    voxel = (9, 30, 20)
    before = colour_at(page, 0, voxel)[0]
    drag(page, at(page, VOXELS[0]), (0, -40), "right")
    brighter = state(page, "brightness")
    assert brighter > 0.05
    assert colour_at(page, 0, voxel)[0] == pytest.approx(before + 255 * brighter, abs=3)
    assert float(page.get_by_role("slider", name="Brightness").input_value()) == pytest.approx(brighter, abs=0.01)
    drag(page, at(page, VOXELS[0]), (40, 0), "right")
    assert state(page, "contrast") < -0.05  # a wider window
    assert position(page) == (9, 12, 10)
    page.mouse.dblclick(*at(page, voxel))
    assert (state(page, "brightness"), state(page, "contrast")) == (0, 0)


def test_the_whole_screen_and_back(opened):
    page = opened(made(), width=1280)
    page.locator(".gbm-more").evaluate("more => (more.open = false)")
    wide = page.locator(".gbm-planes").bounding_box()["width"]
    page.get_by_role("button", name="Full screen").click()
    page.wait_for_function("document.fullscreenElement?.matches('.gbm-viewer')")
    settled(page)
    assert page.evaluate("document.fullscreenElement.scrollHeight <= innerHeight")
    assert page.locator(".gbm-planes").bounding_box()["width"] != wide
    page.get_by_role("button", name="Full screen").click()
    page.wait_for_function("document.fullscreenElement === null")


def test_frames_are_of_one_height(opened):
    heights = [frame.bounding_box()["height"] for frame in opened(made()).locator(".gbm-frame").all()]
    assert max(heights) - min(heights) < 1


def test_two_fingers_zoom_and_pan(opened):
    page = opened(made(), width=390, height=844, has_touch=True, is_mobile=True)
    page.touchscreen.tap(*at(page, (9, 20, 15)))
    where = position(page)
    finger = page.context.new_cdp_session(page)
    x, y = at(page, (9, 20, 15))
    for kind, reach in (("touchStart", 20), ("touchMove", 40), ("touchMove", 60), ("touchEnd", None)):
        points = [] if reach is None else [{"x": x - reach, "y": y, "id": 0}, {"x": x + reach, "y": y, "id": 1}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert state(page, "zoom") == pytest.approx(3, rel=0.1)
    assert position(page) == where
    page.get_by_role("button", name="Reset").tap()
    page.wait_for_function("document.querySelector('.gbm-viewer').viewer.state.zoom === 1")


def test_the_controls_take_less_room_than_the_pictures(opened):
    page = opened(made(overlays=dict.fromkeys(("V-Net", "SegVAE", "U-Net"), labels()[1])), width=1280)
    page.locator(".gbm-more").evaluate("more => (more.open = false)")
    whole, pictures = (page.locator(f".gbm-{of}").bounding_box()["height"] for of in ("viewer", "planes"))
    assert pictures > whole / 2
