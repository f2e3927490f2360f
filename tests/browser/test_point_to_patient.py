"""A click on a patient's row of the figure, or a choice from the list below it, shows the patient."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest
from plotly.offline import get_plotlyjs
from test_viewer_page import made

from gbmlib.pages import plots
from gbmlib.pages.interactive import piece
from gbmlib.viewer.display import PLOTLY

_spec = importlib.util.spec_from_file_location("axe", Path(__file__).parent / "axe" / "axe.py")
axe = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(axe)

NAMES = ["one", "two", "three"]


@pytest.fixture
def opened(browser_page, tmp_path, monkeypatch):
    """Opens a page with three patients, of whom the second and the third have images."""
    monkeypatch.setenv("GBM_STATIC", "1")
    dice = pd.DataFrame({"A": [0.9, 0.7, 0.3], "B": [0.8, 0.75, 0.5]}, NAMES)
    figure = plots.dumbbells(dice, {"A": ("#0072B2", "circle"), "B": ("#E69F00", "diamond")}, "words", NAMES[1:])
    viewer = made()._repr_html_()
    viewers = {name: viewer.replace("A case", f"Images of {name}") for name in NAMES[1:]}
    listed = [{"name": name, "dice": dict(dice.loc[name]), "viewer": viewers.get(name)} for name in NAMES]
    (tmp_path / PLOTLY).parent.mkdir()
    (tmp_path / PLOTLY).write_text(get_plotlyjs(), encoding="utf-8")
    path = tmp_path / "page.html"
    path.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Page</title>'
        '<meta name="viewport" content="width=device-width"><main><h1>Chapter</h1>'
        f"{figure._repr_html_()}{piece('patients', listed)._repr_html_()}</main></html>",
        encoding="utf-8",
    )

    def opened(**context):
        page = browser_page.open(path, **context)
        page.wait_for_selector(".plotly-graph-div .xtick")
        page.wait_for_selector(".gbm-viewer[data-ready]")
        return page

    return opened


def place_of(page, row):
    """Where a row of the figure is on the screen, away from its points."""
    figure = page.locator(".plotly-graph-div")
    figure.scroll_into_view_if_needed()
    return figure.evaluate(
        "(figure, row) => { const { xaxis, yaxis } = figure._fullLayout, box = figure.getBoundingClientRect();"
        " return [box.left + xaxis._offset + xaxis.c2p(0.6), box.top + yaxis._offset + yaxis.c2p(row)]; }",
        row,
    )


def shown(page):
    """The patient of the list, what is said, whose viewer is there, and which row is marked."""
    return (
        page.get_by_label("patient").evaluate("list => list.selectedOptions[0].text"),
        page.locator(".gbm-patients [role=status]").inner_text(),
        page.locator(".gbm-viewer .gbm-head strong").all_inner_texts(),
        page.locator(".plotly-graph-div").evaluate("figure => figure.layout.shapes.map(({ y0, y1 }) => (y0 + y1) / 2)"),
    )


@pytest.mark.parametrize(("width", "touch"), [(1280, False), (390, True)])
def test_a_click_or_a_tap_on_a_row_shows_the_patient(opened, width, touch):
    page = opened(width=width, has_touch=touch)
    press = page.touchscreen.tap if touch else page.mouse.click
    assert shown(page) == ("two", "A 0.7 B 0.75", ["Images of two"], [1])
    press(*place_of(page, 2))
    page.wait_for_selector(".gbm-viewer[data-ready] :text('Images of three')")
    assert shown(page) == ("three", "A 0.3 B 0.5", ["Images of three"], [2])
    press(*place_of(page, 0))
    page.wait_for_function("!document.querySelector('.gbm-viewer')")
    assert shown(page) == ("one", "A 0.9 B 0.8 The images are not in the book.", [], [0])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert axe.findings(page) == []


def test_the_list_does_the_same_by_keyboard(opened):
    page = opened()
    page.get_by_label("patient").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_selector(".gbm-viewer[data-ready] :text('Images of three')")
    assert shown(page) == ("three", "A 0.3 B 0.5", ["Images of three"], [2])
    page.keyboard.press("Home")
    page.keyboard.press("End")
    assert shown(page) == ("one", "A 0.9 B 0.8 The images are not in the book.", [], [0])
