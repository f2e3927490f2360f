"""The rendered book in a real browser, from the disk, as a reader on a desktop and on a phone meets it, in light and in
dark: each page is opened once for each reader, and all that it has to be is looked at there."""

import importlib.util
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
CHAPTERS = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]

#: The width of the screen, and the scheme in which the page is opened.
READERS = {"desktop": (1280, "light"), "phone": (390, "dark")}

_spec = importlib.util.spec_from_file_location("axe", ROOT / "tests" / "browser" / "axe" / "axe.py")
axe = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(axe)

pytestmark = pytest.mark.slow


@pytest.fixture
def opened(browser_page, pages):
    """Opens a page by its name in the table of contents and waits until what it draws is drawn."""

    def opened(name: str, **context):
        page = browser_page.open(pages / f"{name}.html", **context)
        page.wait_for_load_state("networkidle")
        page.evaluate("window.MathJax?.startup?.promise")
        page.evaluate("document.querySelectorAll('article details').forEach(fold => { fold.open = true; })")
        if page.locator(".gbm-viewer").count():
            page.wait_for_selector(".gbm-viewer[data-ready]")
        for figure in page.locator(".gbm-figure").all():
            figure.scroll_into_view_if_needed()
            figure.locator(".main-svg").first.wait_for()
        return page

    return opened


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_page_draws_itself_fits_and_is_accessible(opened, chapter, reader):
    """Opened in one scheme and switched to the other. The fixture adds: no error on the console, no request."""
    width, scheme = READERS[reader]
    page = opened(chapter, width=width, color_scheme=scheme)
    assert page.locator("article h1").count() == 1
    fits(page)

    formulae = page.locator("article .math")
    untypeset = formulae.evaluate_all("all => all.filter(e => !e.querySelector('mjx-container')).map(e => e.outerHTML)")
    assert untypeset == []
    assert page.locator("mjx-merror").count() == 0

    # Docutils puts the file's name where nobody gave a description.
    missing = page.locator("article img").evaluate_all(
        "all => all.filter(e => !e.alt.trim() || /[.](png|svg|jpe?g|webp)$/.test(e.alt)).map(e => e.alt || e.src)"
    )
    assert missing == [], (
        f"images without a description: set mystnb.image.alt in the metadata of their cells ({missing})"
    )

    empty = page.locator(".gbm-figure").evaluate_all(
        "all => all.filter(e => !e.querySelector('.trace, .points')).length"
    )
    assert empty == 0

    accessible_in_light_and_dark(page, scheme)
    for viewer in page.locator(".gbm-viewer").all():
        draws_and_answers_to_its_sliders(page, viewer)


@pytest.mark.parametrize("reader", READERS)
def test_the_search_page_fits_and_is_accessible(opened, reader):
    width, scheme = READERS[reader]
    page = opened("search", width=width, color_scheme=scheme)
    fits(page)
    accessible_in_light_and_dark(page, scheme)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_button_back_to_the_top_is_readable(opened, scheme):
    """It shows where a reader scrolls up, which no other test does for certain."""
    page = opened("book/intro", color_scheme=scheme)
    page.add_style_tag(content="#pst-back-to-top { display: block !important; }")
    assert axe.findings(page, "#pst-back-to-top") == []


def fits(page) -> None:
    """Nothing is wider than the screen but what scrolls by itself."""
    excess = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert excess <= 0, f"{excess} pixels wider than the screen"
    outside = page.locator("article table").evaluate_all(
        """all => all.filter((table) => {
            if (table.getBoundingClientRect().right <= innerWidth) return false;
            for (let e = table.parentElement; e; e = e.parentElement)
                if (["auto", "scroll"].includes(getComputedStyle(e).overflowX)) return false;
            return true;
        }).length"""
    )
    assert outside == 0


def accessible_in_light_and_dark(page, opened_in: str) -> None:
    """axe-core finds nothing grave, and the text's colour is far from the paper's."""
    # What unfolds fades in, and text is pale while it does.
    page.add_style_tag(content="* { animation: none !important; transition: none !important; }")
    assert page.evaluate("document.documentElement.dataset.theme") == opened_in
    for scheme in sorted(("light", "dark"), key=opened_in.__ne__):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function("scheme => document.documentElement.dataset.theme === scheme", arg=scheme)
        ink, paper = page.evaluate(
            """() => ["color", "backgroundColor"].map((name) => {
                const [r, g, b] = getComputedStyle(document.body)[name].match(/[0-9.]+/g).map(Number);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            })"""
        )
        assert (ink > paper) == (scheme == "dark")
        assert abs(ink - paper) > 120
        assert axe.findings(page) == [], scheme


def draws_and_answers_to_its_sliders(page, viewer) -> None:
    for plane in viewer.locator(".gbm-plane").all():
        picture = plane.locator("canvas")
        before = picture.evaluate("c => c.toDataURL()")
        shades = picture.evaluate("c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size")
        assert shades > 20, "an empty picture"
        plane.locator("input[type=range]").evaluate(
            """(e) => {
                const [low, high, now] = [Number(e.min), Number(e.max), Number(e.value)];
                e.value = now + (now - low > high - now ? -1 : 1) * Math.max(1, Math.round((high - low) / 4));
                e.dispatchEvent(new Event("input", { bubbles: true }));
            }"""
        )
        page.wait_for_function(
            "([canvas, before]) => canvas.toDataURL() !== before", arg=[picture.element_handle(), before]
        )


def test_the_result_pages_have_figures_and_viewers(pages):
    baseline = (pages / "book/runs/02_baseline_vnet.html").read_text()
    data = (pages / "book/runs/01_the_data.html").read_text()
    assert 'class="gbm-viewer' in baseline
    assert 'class="gbm-viewer' in data
    assert 'class="gbm-figure' in baseline


def test_the_search_works_offline(opened, browser_page, pages):
    page = opened("book/intro")
    page.keyboard.press("Control+k")
    page.keyboard.type("oedema")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=oedema")
    page.wait_for_selector("#search-results li .context .highlighted")
    titles = page.locator("#search-results li a").all_inner_texts()
    assert "Glossary" in titles
    page.locator("#search-results").get_by_role("link", name="Glossary").first.click()
    page.wait_for_url("**/book/glossary.html*")


def test_the_front_door_leads_to_the_first_chapter(browser_page, pages):
    page = browser_page.open(pages / "index.html")
    page.wait_for_url("**/book/intro.html")
    assert page.locator("article h1").inner_text().startswith("Is it the network, or everything around it?")
