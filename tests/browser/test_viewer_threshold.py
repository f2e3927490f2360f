"""A threshold to play with and maps in colours, in a static page opened from a file in a real browser."""

import numpy as np
import pytest
from test_viewer_page import (
    SIZE,
    SKY,
    START,
    TARGETS,
    brain,
    colour_at,
    coloured,
    labels,
    made,
    readout,
    settled,
    style,
)

from gbmlib.evaluation import metrics
from gbmlib.evaluation.surfaces import volume_ml
from gbmlib.viewer.sprites import quantise_probability

GREEN = (0, 158, 115)  # of what reaches the threshold
DISTANT = (0, 39, 29)  # a voxel beyond what is shown


def likelihood() -> np.ndarray:
    """How likely each voxel is labelled: a soft ball over the truth, a little everywhere, and far away too."""
    z, y, x = np.ogrid[:20, :40, :30]
    distance = np.sqrt((2 * (z - 9.5)) ** 2 + (y - 17) ** 2 + (x - 13) ** 2)
    probability = 1 / (1 + np.exp((distance - 8) / 1.7))
    probability[DISTANT] = 0.4
    return probability.astype(np.float32)


def with_probability(**arguments):
    return made(**{"prediction": None, "probability": likelihood(), "maps": None, **arguments})


def figures(page) -> dict[str, str]:
    settled(page)
    parts = page.locator(".gbm-verdict > span").evaluate_all(
        "all => all.map((e) => [e.querySelector('small').textContent, e.querySelector('b').textContent])"
    )
    return dict(parts)


def move(page, threshold: float) -> None:
    page.get_by_role("slider", name="Threshold").fill(str(threshold))


@pytest.mark.parametrize("level", [1, 13, 64, 100, 128, 129, 200, 255])
def test_the_figures_are_those_of_the_library(opened, level):
    page = opened(with_probability())
    truth, probability = labels()[0] > 0, likelihood()
    move(page, level / 256)
    decided = probability >= level / 256
    said = figures(page)
    assert said["Threshold"] == f"{level / 256:.3f}"
    for name in ("dice", "precision", "recall"):
        assert float(said[name.capitalize()]) == pytest.approx(getattr(metrics, name)(decided, truth), abs=0.00051)
    assert said["Volume"] == f"{volume_ml(decided, (3, 1, 1)):.1f} ml"


def test_the_counts_are_exact_at_every_threshold(opened):
    """Not only to the digits that are shown: voxels reached, and those of them that are true."""
    page = opened(with_probability())
    truth, probability = labels()[0] > 0, likelihood()
    found = page.evaluate("document.querySelector('.gbm-viewer').viewer.counts()")
    for level in range(1, 256):
        decided = probability >= level / 256
        assert found["reached"][level] == np.count_nonzero(decided)
        assert found["hits"][level] == np.count_nonzero(decided & truth)
    assert found["hits"][0] == np.count_nonzero(truth)


@pytest.mark.parametrize(("plane", "voxel"), [(0, (9, 17, 20)), (1, (10, 15, 20)), (2, (10, 23, 13))])
def test_fill_and_outline_move_with_the_threshold_in_every_plane(opened, plane, voxel):
    page = opened(with_probability(truth=None, position=(9, 15, 13)))
    page.get_by_role("slider", name="Fill opacity").fill("1")
    probability = float(likelihood()[voxel])
    assert 0.3 < probability < 0.95
    move(page, np.floor(probability * 256) / 256)
    assert colour_at(page, plane, voxel) == GREEN
    wide = coloured(page, plane, GREEN)
    move(page, np.floor(probability * 256 + 1) / 256)
    assert len(set(colour_at(page, plane, voxel))) == 1  # grey again
    assert 0 < coloured(page, plane, GREEN) < wide
    style(page, "at the threshold", "outline")
    outline = coloured(page, plane, GREEN)
    assert 20 < outline < wide / 2
    style(page, "at the threshold", "off")
    assert coloured(page, plane, GREEN) == 0


def test_regions_have_their_own_truth(opened):
    truth, _ = labels()
    enhancing = np.clip(likelihood() * 0.7, 0, 1)
    page = opened(with_probability(probability={"WT": likelihood(), "ET": enhancing}))
    whole = figures(page)
    page.get_by_role("radiogroup", name="Region").get_by_role("radio", name="ET").check()
    found = figures(page)
    assert found["Threshold"] == "0.500"
    assert float(found["Dice"]) == pytest.approx(metrics.dice(enhancing >= 0.5, truth == 3), abs=0.00051)
    assert float(whole["Dice"]) == pytest.approx(metrics.dice(likelihood() >= 0.5, truth > 0), abs=0.00051)
    assert "probability of ET" in readout(page)
    assert "ET, at the threshold" in page.locator(".gbm-legend").text_content()


def test_where_the_decision_differs_from_the_truth(opened):
    page = opened(with_probability(position=(9, 15, 13)))
    page.get_by_role("slider", name="Fill opacity").fill("1")
    style(page, "gold standard", "off")
    page.get_by_role("checkbox", name="Show where they differ").check()
    truth, probability = labels()[0] > 0, likelihood()
    move(page, 0.75)
    for plane, wrong, colour in (
        (0, truth & (probability < 0.7), (204, 121, 167)),
        (0, ~truth & (probability > 0.8), GREEN),
    ):
        rows = np.argwhere(wrong[9] & (np.arange(30) != 13) & (np.arange(40) != 15)[:, None])
        voxel = (9, *map(int, rows[len(rows) // 2]))
        assert colour_at(page, plane, voxel) == colour
    assert "another class" not in page.locator(".gbm-legend").text_content()


def test_keys_and_the_button_move_the_threshold(opened):
    page = opened(with_probability())
    slider = page.get_by_role("slider", name="Threshold")
    assert [float(slider.get_attribute(end)) for end in ("min", "max", "step")] == [1 / 256, 255 / 256, 1 / 256]
    slider.press("ArrowLeft")
    assert figures(page)["Threshold"] == f"{127 / 256:.3f}"
    spoken = slider.get_attribute("aria-valuetext")
    assert spoken.startswith("Threshold 0.496, Dice 0.")
    slider.press("Home")
    assert figures(page)["Threshold"] == f"{1 / 256:.3f}"
    page.get_by_role("button", name="Back to 0.5").click()
    assert (figures(page)["Threshold"], slider.input_value()) == ("0.500", "0.5")


def test_empty_masks_follow_the_rule_of_the_metrics(opened):
    nothing = np.zeros((20, 40, 30), np.uint8)
    page = opened(with_probability(truth=nothing, probability=np.full(nothing.shape, 0.25, np.float32)))
    for threshold, expected in ((0.5, 1.0), (0.25, 0.0)):
        move(page, threshold)
        said = figures(page)
        decided = np.full(nothing.shape, threshold <= 0.25)
        for name in ("dice", "precision", "recall"):
            assert float(said[name.capitalize()]) == getattr(metrics, name)(decided, nothing > 0) == expected


def test_without_a_truth_there_is_a_volume_alone(opened):
    page = opened(with_probability(truth=None))
    assert list(figures(page)) == ["Threshold", "Volume"]
    assert page.get_by_role("checkbox").count() == 0


def test_the_readout_has_the_probability_and_the_maps(opened):
    heat = np.linspace(0, 1, 20 * 40 * 30, dtype=np.float32).reshape(20, 40, 30)
    page = opened(with_probability(maps={"heat": heat}))
    for voxel in [(9, 12, 10), (10, 15, 13), (3, 4, 4)]:
        page.evaluate("(to) => document.querySelector('.gbm-viewer').viewer.move(to)", voxel)
        said = readout(page)
        level = int(quantise_probability(likelihood())[voxel])
        assert float(said["probability of any label"]) == pytest.approx((level + 0.5) / 256, abs=0.00501)
        assert float(said["heat"]) == pytest.approx(heat[voxel], abs=0.5 / 255 + 0.00501)
    page.evaluate("(to) => document.querySelector('.gbm-viewer').viewer.move(to)", (9, 0, 0))
    assert readout(page)["heat"] == readout(page)["probability of any label"] == "–"


def test_maps_are_drawn_in_the_colours_of_their_legend(opened):
    ramp = np.zeros((20, 40, 30), np.float32)
    ramp[:] = np.linspace(0, 0.5, 30)
    faint = np.where(brain() > 0, 0.05, 0).astype(np.float32)
    page = opened(made(truth=None, prediction=None, maps={"ramp": ramp, "faint": faint}))
    page.get_by_role("slider", name="Map opacity").fill("1")
    assert page.get_by_role("slider", name="Colours end at").input_value() == "0.5"
    assert "ramp 00.50" in page.locator(".gbm-legend").text_content()
    bar = page.get_by_role("img", name="Colours of the map ramp")
    assert "linear-gradient" in bar.evaluate("e => getComputedStyle(e).backgroundImage")
    from matplotlib import colormaps

    for x in (5, 14, 24):
        byte = round(ramp[0, 0, x] * 255)
        expected = colormaps["inferno"](min(255, round(byte / 0.5)), bytes=True)[:3]
        assert np.abs(np.subtract(colour_at(page, 0, (9, 30, x)), list(map(int, expected)))).max() <= 12  # smoothed
    style(page, "Map", "faint")
    page.get_by_role("slider", name="Colours end at").fill("0.05")
    assert colour_at(page, 0, (9, 30, 5)) == (252, 255, 164)  # the brightest, as matplotlib lists it
    style(page, "Map", "none")
    assert len(set(colour_at(page, 0, (9, 30, 5)))) == 1
    assert page.locator(".gbm-scale").count() == 0


def test_a_map_of_zeros_shows_the_image(opened):
    plain = opened(made(truth=None, prediction=None))
    grey = colour_at(plain, 0, (9, 30, 5))
    page = opened(made(truth=None, prediction=None, maps={"nothing": np.zeros((20, 40, 30))}))
    assert colour_at(page, 0, (9, 30, 5)) == grey


def test_every_new_control_has_a_name(opened):
    page = opened(with_probability(probability={"WT": likelihood(), "ET": likelihood()}, maps={"heat": likelihood()}))
    nameless = page.evaluate(
        """[...document.querySelectorAll(".gbm-viewer :is(input, button, canvas)")].filter((e) =>
            !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.[0]?.textContent.trim())).length"""
    )
    assert nameless == 0
    assert page.get_by_role("radiogroup", name="Region").count() == 1


def test_on_a_phone_with_everything(opened):
    several = {"entropy of the mean": likelihood(), "mutual information": likelihood(), "heat": likelihood()}
    viewer = with_probability(probability={"WT": likelihood(), "TC": likelihood(), "ET": likelihood()}, maps=several)
    page = opened(viewer, width=390, height=844, has_touch=True, is_mobile=True, device_scale_factor=2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    targets = page.locator(TARGETS).all()
    assert min(target.bounding_box()["height"] for target in targets) >= 43.5
    slider = page.get_by_role("slider", name="Threshold")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    assert 0.2 < float(figures(page)["Threshold"]) < 0.3


def test_two_viewers_keep_their_thresholds(browser_page, tmp_path):
    outputs = [with_probability()._repr_html_(), with_probability(threshold=0.25)._repr_html_()]
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset='utf-8'><title>Page</title>{''.join(outputs)}", encoding="utf-8")
    page = browser_page.open(path)
    page.wait_for_function("document.querySelectorAll('.gbm-viewer[data-ready]').length === 2")
    settled(page)
    assert page.locator(".gbm-verdict b:first-of-type").nth(0).text_content() == "0.500"
    page.locator(".gbm-viewer").nth(1).get_by_role("slider", name="Threshold").press("ArrowRight")
    settled(page)
    said = [of.locator("b").first.text_content() for of in page.locator(".gbm-verdict").all()]
    assert said == ["0.500", f"{65 / 256:.3f}"]


def test_what_is_shown_is_still_the_brain(opened):
    """A little probability everywhere does not make the pictures larger."""
    page = opened(with_probability())
    shown = page.evaluate("JSON.parse(JSON.stringify(document.querySelector('.gbm-viewer').viewer.state.position))")
    assert shown == [9, 12, 10]
    viewer = with_probability()
    assert (tuple(viewer.spec["sprites"]["start"]), tuple(viewer.spec["sprites"]["size"])) == (START, SIZE)
    assert coloured(page, 0, SKY) > 0
