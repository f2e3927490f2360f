"""The viewer in a static page, opened from a file in a real browser, as a reader meets it."""

import numpy as np
import pytest

from gbmlib.viewer import view

SPACING = (3.0, 1.0, 1.0)
NAMES = {1: "core", 2: "oedema", 3: "enhancing"}
SKY, ORANGE = (86, 180, 233), (213, 94, 0)
START, SIZE = (0, 1, 1), (20, 38, 28)  # what is shown: the brain and two voxels around it
TARGETS = ".gbm-viewer :is(input[type=range], .gbm-choice span, button, select, .gbm-switch):visible"  # of a thumb
ACROSS_DOWN = [(2, 1), (2, 0), (1, 0)]  # the axes of the axial, coronal and sagittal picture


def brain() -> np.ndarray:
    """A block of brain in empty space, 20 x 40 x 30, every voxel with a value of its own: v = 100 + index / 50."""
    volume = np.zeros((20, 40, 30), np.float32)
    inside = volume[2:18, 3:37, 3:27]
    inside[:] = 100 + np.arange(inside.size).reshape(inside.shape) / 50
    return volume


def labels() -> tuple[np.ndarray, np.ndarray]:
    """Gold standard: oedema with an enhancing part; the prediction lies two voxels further in x."""
    truth = np.zeros((20, 40, 30), np.uint8)
    truth[6:14, 10:24, 8:18] = 2
    truth[9:11, 14:18, 12:16] = 3
    return truth, np.roll(truth, 2, 2)


def made(**arguments):
    truth, prediction = labels()
    arguments = {"truth": truth, "prediction": prediction, "position": (9, 12, 10), **arguments}
    images = {"flair": brain(), "t1ce": 5 * brain()}
    return view(images, names=NAMES, spacing=SPACING, title="A case", mode="static", **arguments)


def settled(page) -> None:
    page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")


def position(page, viewer: int = 0) -> tuple[int, ...]:
    settled(page)
    return tuple(page.evaluate(f"document.querySelectorAll('.gbm-viewer')[{viewer}].viewer.state.position"))


def readout(page) -> dict[str, str]:
    settled(page)
    parts = page.locator(".gbm-readout > span").evaluate_all(
        "all => all.map((e) => [e.querySelector('small').textContent, e.querySelector('b').textContent])"
    )
    return dict(parts)


def place(plane: int, voxel: tuple[int, int, int]) -> tuple[float, float]:
    """Where the middle of a voxel lies in a picture, as fractions from the left and from the top: the patient's right,
    front and head (the high indices) are at the left and at the top."""
    across, down = ACROSS_DOWN[plane]
    return tuple(1 - (voxel[axis] - START[axis] + 0.5) / SIZE[axis] for axis in (across, down))


def colour_at(page, plane: int, voxel: tuple[int, int, int], picture: int | None = None) -> tuple[int, ...]:
    settled(page)
    return tuple(
        page.locator(".gbm-plane canvas")
        .nth(plane if picture is None else picture)
        .evaluate(
            """(canvas, [x, y]) => [...canvas.getContext("2d").getImageData(
                Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data].slice(0, 3)""",
            place(plane, voxel),
        )
    )


def coloured(page, plane: int, colour: tuple[int, int, int]) -> int:
    """How many pixels of a picture have about this colour (the edges of a line are blended)."""
    settled(page)
    return (
        page.locator(".gbm-plane canvas")
        .nth(plane)
        .evaluate(
            """(canvas, colour) => {
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                const near = (at) => colour.every((value, channel) => Math.abs(data[at + channel] - value) < 60);
                let count = 0;
                for (let at = 0; at < data.length; at += 4) count += near(at);
                return count;
            }""",
            colour,
        )
    )


def click(page, plane: int, voxel: tuple[int, int, int]) -> None:
    canvas = page.locator(".gbm-plane canvas").nth(plane)
    box = canvas.bounding_box()
    x, y = place(plane, voxel)
    canvas.click(position={"x": x * box["width"], "y": y * box["height"]})


def style(page, overlay: str, chosen: str) -> None:
    page.get_by_role("combobox", name=overlay).select_option(chosen)


# --------------------------------------------------------------------------------------------------- what is to be seen


def test_pictures_have_the_proportions_of_the_patient(opened):
    page = opened(made())
    boxes = [box.bounding_box() for box in page.locator(".gbm-plane canvas").all()]
    millimetres = [size * step for size, step in zip(SIZE, SPACING, strict=True)]
    scales = [box["width"] / millimetres[across] for box, (across, _) in zip(boxes, ACROSS_DOWN, strict=True)]
    scales += [box["height"] / millimetres[down] for box, (_, down) in zip(boxes, ACROSS_DOWN, strict=True)]
    assert max(scales) / min(scales) < 1.01


def test_grey_levels_are_the_volume_and_left_is_on_the_right(opened):
    page = opened(made(truth=None, prediction=None))
    assert colour_at(page, 0, (9, 2, 2)) == (0, 0, 0)  # background
    dim, bright = colour_at(page, 1, (3, 12, 20)), colour_at(page, 1, (16, 12, 20))  # values grow towards the head
    assert 0 < dim[0] < 60 < 200 < bright[0]
    assert len(set(dim)) == 1
    edges = [plane.locator(".gbm-edge").all_text_contents() for plane in page.locator(".gbm-plane").all()]
    assert edges == [["R", "L", "A", "P"], ["R", "L", "S", "I"], ["A", "P", "S", "I"]]
    assert "left (L) is on the right" in page.locator(".gbm-more .gbm-hint").text_content()


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_fill_and_outline_stand_where_the_labels_are(opened, plane):
    page = opened(made(prediction=None, position=(9, 15, 13)))
    style(page, "gold standard", "fill")
    page.get_by_role("slider", name="Fill opacity").fill("1")
    inside, other, outside = {  # an enhancing voxel, one of oedema, one without label, all on the plane's slice
        0: ((9, 16, 14), (9, 20, 10), (9, 20, 20)),
        1: ((10, 15, 14), (7, 15, 10), (7, 15, 20)),
        2: ((10, 16, 13), (7, 20, 13), (7, 30, 13)),
    }[plane]
    assert colour_at(page, plane, inside) == ORANGE
    assert colour_at(page, plane, other) == SKY
    grey = colour_at(page, plane, outside)
    assert len(set(grey)) == 1
    style(page, "gold standard", "outline")
    assert len(set(colour_at(page, plane, inside))) == 1
    assert coloured(page, plane, SKY) > 50
    assert coloured(page, plane, ORANGE) > 10
    style(page, "gold standard", "off")
    assert coloured(page, plane, SKY) == coloured(page, plane, ORANGE) == 0


def test_where_they_differ(opened):
    page = opened(made(position=(7, 15, 9)))
    page.get_by_role("slider", name="Fill opacity").fill("1")
    style(page, "gold standard", "off")
    page.get_by_role("checkbox", name="Show where they differ").check()
    assert colour_at(page, 0, (7, 20, 8)) == (204, 121, 167)  # only in the gold standard
    assert colour_at(page, 0, (7, 20, 19)) == (0, 158, 115)  # only in the prediction
    assert len(set(colour_at(page, 0, (7, 20, 13)))) == 1  # alike
    assert "missed" in page.locator(".gbm-legend").text_content()
    page.get_by_role("slider", name="Axial slice").fill("9")
    assert colour_at(page, 0, (9, 16, 12)) == (230, 159, 0)  # enhancing in one, oedema in the other


def test_brightness_and_contrast_leave_the_background_black(opened):
    page = opened(made(truth=None, prediction=None))
    before = colour_at(page, 1, (7, 12, 20))  # away from the crosshair
    page.get_by_role("slider", name="Brightness").fill("0.3")
    assert colour_at(page, 1, (7, 12, 20))[0] == pytest.approx(before[0] + 0.3 * 255, abs=2)
    assert colour_at(page, 1, (0, 12, 20)) == (0, 0, 0)
    page.get_by_role("button", name="Reset").click()
    assert colour_at(page, 1, (7, 12, 20)) == before


# --------------------------------------------------------------------------------------------------------- moving about


def test_the_readout_is_the_numpy_array(opened):
    page = opened(made())
    truth, prediction = labels()
    volume, names = brain(), {0: "–", **NAMES}
    values = volume[volume > 0]
    step = (values.max() - values.min()) / 254
    for voxel in [(9, 12, 10), (10, 15, 13), (7, 22, 19), (3, 4, 4), (0, 1, 1)]:
        page.evaluate("(to) => document.querySelector('.gbm-viewer').viewer.move(to)", voxel)
        said = readout(page)
        assert said["voxel (z, y, x)"] == ", ".join(map(str, voxel))
        assert abs(float(said["FLAIR"].lstrip("≤≥ ")) - volume[voxel]) <= step
        assert said["gold standard"] == names[truth[voxel]]
        assert said["prediction"] == names[prediction[voxel]]
    page.get_by_role("radiogroup", name="Modality").get_by_role("radio", name="T1ce").check()
    page.evaluate("(to) => document.querySelector('.gbm-viewer').viewer.move(to)", (10, 15, 13))
    assert abs(float(readout(page)["T1ce"]) - 5 * volume[10, 15, 13]) <= 5 * step


def test_sliders_move_their_plane(opened):
    page = opened(made())
    for axis, (name, index) in enumerate([("Axial slice", 11), ("Coronal slice", 20), ("Sagittal slice", 5)]):
        page.get_by_role("slider", name=name).fill(str(index))
        assert position(page)[axis] == index
    assert page.locator(".gbm-caption").all_text_contents() == ["Axialz = 11", "Coronaly = 20", "Sagittalx = 5"]
    slider = page.get_by_role("slider", name="Axial slice")
    assert [slider.get_attribute(name) for name in ("min", "max")] == ["0", "19"]
    slider.press("ArrowRight")
    assert position(page) == (12, 20, 5)


@pytest.mark.parametrize(("plane", "voxel"), [(0, (9, 30, 5)), (1, (15, 12, 25)), (2, (4, 36, 10))])
def test_a_click_goes_to_the_voxel_under_it(opened, plane, voxel):
    page = opened(made())
    click(page, plane, voxel)
    assert position(page) == voxel


def test_a_drag_follows_the_pointer_and_stays_inside(opened):
    page = opened(made())
    box = page.locator(".gbm-plane canvas").nth(0).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 5, box["y"] + 5, steps=4)
    assert position(page) == (9, 38, 28)
    page.mouse.move(box["x"] + box["width"] + 50, box["y"] + box["height"] + 50, steps=4)
    assert position(page) == (9, 1, 1)
    page.mouse.up()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    assert position(page) == (9, 1, 1)


def test_keys(opened):
    page = opened(made())
    page.locator(".gbm-plane canvas").nth(2).focus()
    for key, expected in {
        "ArrowLeft": (9, 13, 10),  # towards the face
        "ArrowUp": (10, 13, 10),  # towards the head
        "Shift+ArrowRight": (10, 3, 10),
        "ArrowDown": (9, 3, 10),
        "PageUp": (9, 3, 11),
        "PageDown": (9, 3, 10),
    }.items():
        page.keyboard.press(key)
        assert position(page) == expected
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowUp")
    assert position(page) == (9, 3, 10)


def test_the_wheel_scrolls_the_page_until_a_picture_is_held(opened):
    page = opened(made(), height=300)
    box = page.locator(".gbm-plane canvas").nth(0).bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.wheel(0, 100)
    page.wait_for_function("scrollY > 0")
    assert position(page) == (9, 12, 10)
    click(page, 0, (9, 12, 10))
    page.wait_for_timeout(300)  # smooth scrolling comes to rest
    scrolled = page.evaluate("scrollY")
    page.mouse.wheel(0, 100)
    page.wait_for_function("document.querySelector('.gbm-viewer').viewer.state.position[0] === 8")
    assert page.evaluate("scrollY") == scrolled


def test_every_control_can_be_reached_and_seen_with_the_keyboard(opened):
    page = opened(made())
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")
        if page.evaluate("document.activeElement === document.body"):
            break
        reached.append(name)
    text = " ".join(reached)
    for part in (
        "Axial slice, z = 9",
        "Coronal slice",
        "Sagittal slice",
        "Fill opacity",
        "Brightness",
        "Contrast",
        "Reset",
    ):
        assert part in text
    page.locator(".gbm-plane canvas").first.focus()
    shadow = page.locator(".gbm-frame").first.evaluate("e => getComputedStyle(e).boxShadow")
    assert shadow != "none"


# ----------------------------------------------------------------------------------------------- phones, several, alone


def test_on_a_phone(opened, browser_page):
    many = {"V-Net of the first paper": labels()[1], "U-Net of the second paper": labels()[0]}
    page = opened(made(overlays=many), width=390, height=844, has_touch=True, is_mobile=True, device_scale_factor=2)
    page.get_by_label("Show where they differ").check()
    page.evaluate("scrollTo(0, 0)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    lefts = [box.bounding_box()["x"] for box in page.locator(".gbm-plane").all()]
    assert max(lefts) - min(lefts) < 1  # one above the other
    targets = page.locator(TARGETS).all()
    assert min(target.bounding_box()["height"] for target in targets) >= 43.5
    canvas = page.locator(".gbm-plane canvas").nth(0)
    touch = "e => getComputedStyle(e).touchAction"
    assert canvas.evaluate(touch) == "manipulation"  # a finger scrolls past
    box = canvas.bounding_box()
    x, y = place(0, (9, 29, 22))
    at = [box["x"] + x * box["width"], box["y"] + y * box["height"]]
    page.touchscreen.tap(*at)
    assert position(page) == (9, 29, 22)
    assert canvas.evaluate(touch) == "none"  # now it drags the crosshair

    scrolled = page.evaluate("scrollY")
    finger = page.context.new_cdp_session(page)
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": at[0], "y": at[1]}]})
    for _ in range(5):
        at[1] += 2 * box["height"] / SIZE[1]
        finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": at[0], "y": at[1]}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert position(page) == (9, 19, 22)
    assert page.evaluate("scrollY") == scrolled


@pytest.mark.parametrize("kept", [(0, 1), (1,)])
def test_several_viewers_on_a_page_do_not_mix(browser_page, tmp_path, kept):
    outputs = [made()._repr_html_(), made(position=(5, 30, 20))._repr_html_()]
    body = "\n".join(outputs[i] for i in kept)
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset='utf-8'><title>Page</title>{body}", encoding="utf-8")
    page = browser_page.open(path)
    page.wait_for_function(f"document.querySelectorAll('.gbm-viewer[data-ready]').length === {len(kept)}")
    last = len(kept) - 1
    assert position(page, last) == (5, 30, 20)
    page.locator(".gbm-viewer").nth(last).get_by_role("radio", name="T1ce").check()
    page.locator(".gbm-viewer").nth(last).get_by_role("slider", name="Axial slice").fill("7")
    assert position(page, last) == (7, 30, 20)
    if last:
        first = page.locator(".gbm-viewer").first
        assert position(page, 0) == (9, 12, 10)
        assert first.get_by_role("radio", name="FLAIR").is_checked()


def test_two_predictions_side_by_side_move_together_and_each_has_its_own_labels_and_dice(opened):
    truth, moved = labels()
    page = opened(made(prediction=None, overlays={"one": truth, "other": moved}, side_by_side=True))
    assert page.locator(".gbm-caption > span:first-child").all_text_contents() == ["one", "other"]
    # Of ten slices in x two are missed; of four in the enhancing part two; the core is the enhancing part alone.
    assert page.locator(".gbm-note").all_text_contents() == [
        "Dice WT 1.00, TC 1.00, ET 1.00",
        "Dice WT 0.80, TC 0.50, ET 0.50",
    ]
    page.get_by_role("slider", name="other slice").fill("7")
    assert position(page) == (7, 12, 10)
    page.get_by_role("slider", name="Fill opacity").fill("1")
    coloured = [[colour_at(page, 0, (7, 20, x), picture) for x in (8, 13, 19)] for picture in (0, 1)]
    grey = [[len(set(colour)) == 1 for colour in row] for row in coloured]
    assert grey == [[False, False, True], [True, False, False]]
    page.get_by_label("Show where they differ").check()
    assert all(len(set(colour_at(page, 0, (7, 20, x), 0))) == 1 for x in (8, 13, 19))
    assert colour_at(page, 0, (7, 20, 8), 1) == (204, 121, 167)  # missed


def test_label_maps_in_turn_follow_their_slider(opened):
    truth, moved = labels()
    page = opened(made(prediction=None, overlays={"epoch 1": moved, "epoch 9": truth}, in_turn=True))
    through = page.get_by_role("slider", name="Step")
    assert through.get_attribute("aria-valuetext") == "epoch 9 Dice WT 1.00, TC 1.00, ET 1.00"
    voxel = (7, 20, 19)  # in the first alone
    assert list(readout(page)) == ["voxel (z, y, x)", "mm (z, y, x)", "FLAIR", "gold standard", "epoch 9"]
    assert len(set(colour_at(page, 0, voxel))) == 1
    through.fill("0")
    assert page.locator(".gbm-threshold output").text_content() == "epoch 1Dice WT 0.80, TC 0.50, ET 0.50"
    assert list(readout(page))[-1] == "epoch 1"
    assert len(set(colour_at(page, 0, voxel))) > 1
    page.get_by_role("slider", name="Fill opacity").fill("1")
    page.get_by_label("Show where they differ").check()
    assert colour_at(page, 0, voxel) == (0, 158, 115)  # extra
    through.fill("1")
    assert len(set(colour_at(page, 0, voxel))) == 1
    assert page.get_by_label("epoch 1", exact=True).count() == 0  # no style to choose: the slider shows it


def test_without_labels_and_with_one_image(opened):
    page = opened(view({"t2": brain()}, spacing=SPACING, mode="static"))
    assert list(readout(page)) == ["voxel (z, y, x)", "mm (z, y, x)", "T2"]
    assert page.get_by_role("checkbox").count() == 0
    assert page.locator(".gbm-legend").text_content() == ""


def test_a_position_in_the_empty_space_around_the_brain(opened):
    page = opened(made(position=(9, 39, 0)))
    assert list(readout(page).values()) == ["9, 39, 0", "27.0, 39.0, 0.0", "0", "–", "–"]
    page.get_by_role("slider", name="Axial slice").fill("10")
    assert position(page) == (10, 39, 0)


def test_altered_image_data_is_refused(browser_page, tmp_path):
    viewer = made()
    viewer.spec["overlays"][0]["checksum"] += 1
    page = browser_page.open(viewer.save(tmp_path / "altered.html"))
    page.wait_for_selector("[role=alert]")
    assert "alters image data" in page.get_by_role("alert").text_content()


def test_redrawing_is_measured_on_a_real_case(opened, brats_folder, record_property):
    from gbmlib.cohorts import open_cohort

    case = open_cohort(f"brats:{brats_folder}", modalities=("t1ce", "flair")).cases[5]
    truth = case.label()
    page = opened(view(case, truth, np.roll(truth, 2, 1), mode="static"))
    times = page.evaluate(
        """async () => {
            const root = document.querySelector(".gbm-viewer"), times = [];
            for (let z = 40; z < 90; z++) {
                root.viewer.move([z, z + 20, z + 30]);
                await new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)));
                times.push(Number(root.dataset.milliseconds));
            }
            return times;
        }"""
    )
    record_property("median_redraw_milliseconds", float(np.median(times)))
    assert len(times) == 50
    assert min(times) > 0
