"""The planner in a page without a kernel: the same plans as Python's, and a form that a reader can use."""

import dataclasses
import json
import random

import pytest

from gbmlib import planner
from gbmlib.pages.interactive import script
from gbmlib.pages.planner_pages import form
from gbmlib.planner import PATCH_VOXELS, Fingerprint, plan
from gbmlib.preprocess import normalise

SPACINGS = (0.5, 0.625, 0.8, 1.0, 1.25, 2.0, 2.5, 3.6, 5.0)


def geometries(count: int, seed: int = 0) -> list[dict]:
    """Data sets as their medians, of every kind: cubes, slabs, single slices, threads; also with other budgets."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        most = draw.choice([3, 12, 64, 300, 700, 5000, 100_000])
        shape = [draw.randint(2, most) for _ in range(3)]
        spacing = [draw.choice([*SPACINGS, draw.uniform(0.05, 9)]) for _ in range(3)]
        kind = draw.random()
        if kind < 0.15:
            shape[draw.randrange(3)] = 1
        elif kind < 0.5:
            shape, spacing = [shape[0], shape[1], shape[1]], [spacing[0], spacing[1], spacing[1]]
        elif kind < 0.6:
            shape, spacing = [shape[0]] * 3, [spacing[0]] * 3
        budget = draw.choice([PATCH_VOXELS, PATCH_VOXELS, 4096, 64**3, draw.randint(4096, 8 * PATCH_VOXELS)])
        made.append(
            {
                "shape": shape,
                "spacing": spacing,
                "cases": draw.choice([1, 2, 19, 50, 484, 10_000]),
                "kept": draw.choice([None, 0.365474, 0.75, 0.7501, 1.0]),
                "voxels": budget,
            }
        )
    return made


def in_python(of: dict) -> dict:
    known = Fingerprint([of["shape"]], [of["spacing"]], cases=of["cases"], kept=of["kept"])
    made = plan(known, voxels=of["voxels"])
    networks = [
        {
            "name": network.name,
            "axes": network.axes,
            "spacing": network.spacing,
            "medianShape": network.median_shape,
            "patchSize": network.patch_size,
            "pools": network.pools,
            "batchSize": network.batch_size,
            "dice": network.dice,
            "augmentation": network.augmentation,
            "sliceAxis": network.slice_axis,
            "features": network.features,
            "wanted": network.wanted,
            "steps": network.steps,
        }
        for network in made.networks
    ]
    masked = made.normalisation[0] in normalise.ZERO_IS_BACKGROUND
    return json.loads(json.dumps({"networks": networks, "masked": masked}))


def test_the_page_plans_as_python_does_number_for_number(browser, tmp_path):
    several = geometries(300)
    page = browser.new_page()
    try:
        found = page.evaluate(f"(all) => {{ {script('planner')}; return all.map(makePlan); }}", several)
    finally:
        page.close()
    for of, theirs in zip(several, found, strict=True):
        ours = in_python(of)
        for mine, other in zip(ours["networks"], theirs["networks"], strict=True):
            assert mine == {name: other[name] for name in mine}, of
        assert len(ours["networks"]) == len(theirs["networks"]), of
        assert ours["masked"] == theirs["masked"], of


HEART = Fingerprint([(115, 320, 232)], [(1.37, 1.25, 1.25)], cases=20, name="Heart")
CT = Fingerprint([(482, 512, 512)], [(1, 0.767578, 0.767578)], kinds=("CT",), cases=131, kept=0.9, name="Liver <b>")


@pytest.fixture
def opened(browser_page, tmp_path):
    def opened(*presets, **context):
        path = tmp_path / "page.html"
        path.write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Planner</title>'
            '<meta name="viewport" content="width=device-width">'
            f"<body>{form(presets or (HEART, CT))._repr_html_()}</body></html>",
            encoding="utf-8",
        )
        page = browser_page.open(path, **context)
        page.wait_for_selector(".gbm-planner[data-ready]")
        return page

    return opened


def cells(page) -> dict[str, list[str]]:
    rows = page.locator(".gbm-plan tbody tr").evaluate_all(
        "all => all.map(r => [...r.children].map(c => c.textContent))"
    )
    return {name: values for name, *values in rows}


def test_the_form_begins_with_the_first_data_set_and_its_plan(opened):
    page = opened()
    assert page.get_by_label("start from").input_value() == "0"
    assert page.get_by_label("training cases").input_value() == "20"
    assert cells(page)["3D"][:4] == ["115 x 320 x 232", "80 x 192 x 128", "2", "4, 5, 5"]
    assert set(cells(page)) == {"2D", "3D", "3D low resolution"}
    assert cells(page)["3D"][-1].endswith(" → 80 x 224 x 160 → 80 x 192 x 160 → 80 x 192 x 128")


def test_the_call_below_the_plan_explains_it_in_python(opened):
    for number, known in enumerate((HEART, CT)):
        page = opened()
        page.get_by_label("start from").select_option(str(number))
        page.get_by_label("voxels of a 3D patch").select_option("96")
        call = page.locator(".gbm-plan code").text_content()
        said = []
        exec(call, {"print": said.append, "planner": planner})  # what the reader copies
        assert said == [plan(dataclasses.replace(known, name=""), voxels=96**3).explain()]


def test_another_data_set_fills_the_form(opened):
    page = opened()
    page.get_by_label("start from").select_option("Liver <b>")
    assert cells(page)["3D low resolution"][:4] == ["121 x 128 x 128", "128 x 128 x 128", "2", "5, 5, 5"]
    assert page.get_by_label("images").input_value() == "CT"
    assert page.get_by_label("cropped away").input_value() == "10"
    assert cells(page)["3D"][6] == "whole images"


def test_the_plan_follows_as_the_reader_types(opened):
    page = opened()
    shape = page.get_by_role("group", name="median shape after cropping")
    for axis, size in zip("zyx", (36, 50, 35), strict=True):
        shape.get_by_label(axis, exact=True).fill(str(size))
    for axis in "zyx":
        page.get_by_role("group", name="median spacing").get_by_label(axis, exact=True).fill("1,0")
    page.get_by_label("training cases").fill("260")
    assert page.get_by_label("start from").input_value() == ""
    assert {name: values[:6] for name, values in cells(page).items()} == {
        "2D": ["50 x 35", "56 x 40", "366", "3, 3", "whole batch", "2D"],
        "3D": ["36 x 50 x 35", "40 x 56 x 40", "9", "3, 3, 3", "each sample", "3D"],
    }
    page.get_by_label("voxels of a 3D patch").select_option("32")
    assert cells(page)["3D"][1] == "32 x 40 x 24"  # from 32 x 48 x 32: y gives up 8, then x


def test_what_cannot_be_planned_is_said_for_each_field(opened):
    page = opened()
    page.get_by_label("training cases").fill("none")
    page.get_by_role("group", name="median spacing").get_by_label("y", exact=True).fill("0")
    page.get_by_label("cropped away").fill("100")
    said = page.locator(".gbm-plan-problems li").all_inner_texts()
    assert len(said) == 3
    assert said[0] == 'Spacing along y takes millimetres over 0, not "0".'
    assert page.get_by_label("training cases").get_attribute("aria-invalid") == "true"
    page.get_by_label("training cases").fill("20")
    assert page.get_by_label("training cases").get_attribute("aria-invalid") == "false"
    assert page.locator(".gbm-plan-problems li").count() == 2


@pytest.mark.parametrize("width", [1100, 390])
def test_the_form_fits_the_page(opened, width):
    page = opened(width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_form_needs_named_data_sets():
    for several in ((), (Fingerprint([(1, 1, 1)], [(1, 1, 1)]),), (HEART, HEART)):
        with pytest.raises(ValueError, match="offers data sets by name"):
            form(several)
