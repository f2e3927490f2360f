"""The checker of accessible pages, which `test_pages.py` asks about every page of the book, finds what is wrong."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_spec = importlib.util.spec_from_file_location("axe", ROOT / "tests" / "browser" / "axe" / "axe.py")
axe = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(axe)


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
