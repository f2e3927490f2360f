"""Figures in a page of the book: drawn from the book's own bundle, fetched once, at any depth, at any width."""

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

from gbmlib.viewer.display import PLOTLY, StaticFigure


@pytest.fixture
def book(tmp_path):
    """A page two folders deep, as the book has them, with two figures."""
    bundle = tmp_path / PLOTLY
    bundle.parent.mkdir()
    bundle.write_text("window.loaded = (window.loaded ?? 0) + 1;\n" + get_plotlyjs(), encoding="utf-8")
    figure = go.Figure([go.Scatter(y=[0.2, 0.6, 0.7], name="training")]).update_layout(width=900, title="Dice")
    figures = "\n".join(StaticFigure(figure, words)._repr_html_() for words in ("first", "second"))
    page = tmp_path / "book" / "runs" / "page.html"
    page.parent.mkdir(parents=True)
    page.write_text(
        '<!doctype html><html lang="en" data-content_root="../../"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Page</title>'
        f'<body style="color: rgb(1, 2, 3)">{figures}</body></html>',
        encoding="utf-8",
    )
    return page


@pytest.mark.parametrize("width", [1100, 390])
def test_figures_draw_from_one_bundle_and_fit(browser_page, book, width):
    page = browser_page.open(book, width=width)
    page.wait_for_function("document.querySelectorAll('.gbm-figure .scatterlayer .trace').length === 2")
    assert page.evaluate("window.loaded") == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.get_by_role("figure", name="first").count() == 1
    assert page.locator(".gbm-figure .xtick text").first.evaluate("e => getComputedStyle(e).fill") == "rgb(1, 2, 3)"
    widths = page.locator(".gbm-figure .main-svg").evaluate_all(
        "all => all.map((e) => e.getBoundingClientRect().width)"
    )
    assert max(widths) <= width


def test_a_figure_in_a_fold_takes_its_width_when_the_fold_opens(browser_page, book):
    book.write_text(book.read_text().replace("<body", "<body><details><summary>Figures</summary", 1), encoding="utf-8")
    page = browser_page.open(book, width=390)
    page.wait_for_function("document.querySelectorAll('.gbm-figure .scatterlayer .trace').length === 2")
    page.locator("summary").click()
    page.wait_for_function(
        """[...document.querySelectorAll('.gbm-figure')].every((figure) => {
            const width = (e) => e.getBoundingClientRect().width;
            return width(figure) > 300 && Math.abs(width(figure.querySelector('.main-svg')) - width(figure)) < 2;
        })"""
    )


def test_a_figure_takes_the_width_that_the_whole_page_leaves_it(browser_page, book):
    """The sidebar follows the figures, which may be drawn before the browser has read it."""
    narrower = "document.querySelector('.gbm-plotly').onload = () => { document.body.style.width = '500px'; }"
    book.write_text(book.read_text().replace("</body>", f"<script>{narrower}</script></body>"), encoding="utf-8")
    page = browser_page.open(book, width=1100)
    narrow = "document.querySelector('.gbm-figure .main-svg')?.getBoundingClientRect().width <= 500"
    page.wait_for_function(narrow, timeout=10_000)


def test_a_figure_follows_the_width_of_the_window(browser_page, book):
    page = browser_page.open(book, width=1100)
    page.wait_for_selector(".gbm-figure .main-svg")
    page.set_viewport_size({"width": 500, "height": 800})
    page.wait_for_function("document.querySelector('.gbm-figure .main-svg').getBoundingClientRect().width <= 500")


def test_the_numbers_of_a_figure_can_be_taken_away(browser_page, book):
    page = browser_page.open(book, width=1100)
    page.wait_for_selector(".gbm-figure .main-svg")
    with page.expect_download() as download:
        page.locator('[data-title="Download the numbers (CSV)"]').first.click(force=True)
    lines = download.value.path().read_text(encoding="utf-8").splitlines()
    assert lines[0] == "trace,x,y,z,text,error_x_array,error_x_arrayminus,error_y_array,error_y_arrayminus"
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ['"training"', f'"{x}"', f'"{y}"'] for x, y in ((0, 0.2), (1, 0.6), (2, 0.7))
    ]
    assert download.value.suggested_filename.endswith(".csv")
