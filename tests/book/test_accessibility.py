"""Every page of the book under axe-core, at two widths, in light and in dark: no serious finding, no complaint of the
browser, nothing wider than the screen."""

import importlib.util
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]), "search"]
WIDTHS = {"desktop": 1280, "phone": 390}

_spec = importlib.util.spec_from_file_location("axe", ROOT / "tests" / "browser" / "axe" / "axe.py")
axe = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(axe)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible(browser_page, pages, name, width, scheme):
    """The fixture adds: no error on the console, no request to anywhere."""
    page = browser_page.open(pages / f"{name}.html", width=WIDTHS[width], height=900, color_scheme=scheme)
    page.wait_for_load_state("networkidle")
    page.evaluate("window.MathJax?.startup?.promise")
    # What unfolds fades in, and text is pale while it does.
    page.add_style_tag(content="* { animation: none !important; transition: none !important; }")
    page.evaluate("document.querySelectorAll('article details').forEach((folded) => (folded.open = true))")
    for viewer in page.locator(".gbm-viewer").all():
        viewer.locator(":scope[data-ready]").wait_for()
    for figure in page.locator(".gbm-figure").all():
        figure.scroll_into_view_if_needed()
        figure.locator(".main-svg").first.wait_for()
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert axe.findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_the_checker_finds_what_is_wrong(browser_page, tmp_path):
    """A test that finds nothing has to be able to find something."""
    path = tmp_path / "page.html"
    faults = '<img src="data:,"><button></button><p style="color: #999; background: #aaa">Faint</p>'
    path.write_text(f'<!doctype html><html lang="en"><title>Page</title><main><h1>One</h1>{faults}</main></html>')
    found = "\n".join(axe.findings(browser_page.open(path)))
    for rule in ("critical image-alt", "critical button-name", "serious color-contrast"):
        assert rule in found


def test_the_checker_is_what_it_was():
    assert axe.altered() == []
