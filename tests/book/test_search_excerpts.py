"""The search of a book that is opened from the disk, in a browser: what it finds, with an excerpt."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = """
import sys
sys.path.insert(0, {ext!r})
project, root_doc, html_theme = "book", "index", "sphinx_book_theme"
extensions, html_context = ["myst_parser", "search_excerpts"], {{"default_mode": "auto"}}
"""
PAGES = {
    "index": "# First\n\nNothing of interest.\n\n```{toctree}\nbook/tumours\n```\n",
    "book/tumours": (
        "# Tumours\n\nA long way before the word."
        + " More words." * 50
        + "\n\nSwelling, that is oedema, is bright.\n\n"
        "<script>const hidden = 'oedema in a script';</script>\n\n## Necrosis\n\nThe dead core.\n"
    ),
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("search")
    (root / "book").mkdir()
    for name, text in PAGES.items():
        (root / f"{name}.md").write_text(text)
    (root / "conf.py").write_text(CONFIGURATION.format(ext=str(ROOT / "book/_ext")))
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", str(root), str(root / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "out"


@pytest.mark.parametrize(("word", "excerpt"), [("oedema", "Swelling, that is oedema"), ("necrosis", "The dead core.")])
def test_what_is_found_is_shown_with_an_excerpt(site, browser_page, word, excerpt):
    """The fixture adds: no error on the console, no request to anywhere."""
    page = browser_page.open(f"{(site / 'search.html').as_uri()}?q={word}")
    found = page.locator("#search-results li", has_text=excerpt).first
    found.wait_for()
    assert found.locator("a").get_attribute("href").startswith("book/tumours.html")
    assert found.locator(".highlighted").first.inner_text().lower() == word


def test_the_search_page_alone_loads_the_texts(site):
    assert "search_excerpts.js" in (site / "search.html").read_text()
    assert "search_excerpts.js" not in (site / "book/tumours.html").read_text()
    assert "in a script" not in (site / "_static/search_excerpts.js").read_text()
