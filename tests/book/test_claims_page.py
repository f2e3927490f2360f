"""The page of claims in a small book of its own: rows, links both ways, and the filter in a browser."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = ("04_se_ablation", "06_planner", "05_training_choices")
IDS = (
    "squeeze-excitation-helps",
    "kernel-three-beats-five",
    "table-1",
    "aspect-ratio-in-voxels",
    "blocks-change-little",
)
CONFIGURATION = """
import sys
sys.path.insert(0, {ext!r})
project, root_doc, html_theme, nb_execution_mode = "book", "book/intro", "sphinx_book_theme", "off"
extensions = ["myst_nb", "sphinx_design", "sphinx_book_theme", "sphinxcontrib.bibtex", "claims"]
myst_enable_extensions = ["deflist", "colon_fence"]
bibtex_bibfiles = ["book/references.bib"]
html_context = {{"default_mode": "auto"}}
exclude_patterns = ["notebooks", "book/records", "out"]
"""
INTRO = """# First page

```{claims-grid}
```

See {ref}`claim-table-1`.

```{toctree}
claims
references
runs/04_se_ablation
runs/05_training_choices
runs/06_planner
```
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The rendered pages of a few claims, from the published records, with their chapters as stubs."""
    root = tmp_path_factory.mktemp("claims")
    (root / "book/runs").mkdir(parents=True)
    (root / "notebooks").mkdir()
    for name in ("records", "facts"):
        (root / "book" / name).symlink_to(ROOT / "book" / name)
    for name in ("claims.md", "references.md", "references.bib"):
        shutil.copy2(ROOT / "book" / name, root / "book")
    every = yaml.safe_load((ROOT / "book/claims.yml").read_text())
    (root / "book/claims.yml").write_text(yaml.safe_dump([entry for entry in every if entry["id"] in IDS]))
    for name in CHAPTERS:
        text = (ROOT / "notebooks" / f"{name}.ipynb").read_text()
        notebook = json.loads(text)
        title = "".join(notebook["cells"][0]["source"]).splitlines()[0]
        words = f"{title}\n\nWords.\n\n## Answer\n\nSo it is.\n\n## Section"
        cell = {"cell_type": "markdown", "id": "cell-00", "metadata": {}, "source": words}
        stub = json.dumps(notebook | {"cells": [cell]})
        (root / "notebooks" / f"{name}.ipynb").write_text(stub)
        (root / "book/runs" / f"{name}.ipynb").write_text(stub)
    (root / "book/intro.md").write_text(INTRO)
    (root / "conf.py").write_text(CONFIGURATION.format(ext=str(ROOT / "book/_ext")))
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", str(root), str(root / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "out" / "book"


def test_rows_and_links_both_ways(site):
    page = (site / "claims.html").read_text()
    for name in IDS:
        assert page.count(f'id="claim-{name}"') == 1
    assert 'href="runs/06_planner.html"' in page
    chapter = (site / "runs/06_planner.html").read_text()
    answer, claims, section = map(chapter.index, ("So it is.", "Claims that this chapter discusses", "<h2>Section"))
    assert answer < claims < section
    assert 'href="../claims.html#claim-table-1"' in chapter
    assert "claim-squeeze" not in chapter
    first = (site / "intro.html").read_text()
    assert 'href="claims.html#claim-table-1"' in first
    assert "not supported" in first


@pytest.mark.parametrize("width", [1280, 390])
def test_the_filter(site, browser_page, width):
    page = browser_page.open(site / "claims.html", width=width)
    rows, output = page.locator("tr.gbm-claim"), page.locator(".gbm-claims-filter output")

    def shown():
        return [row.get_attribute("id") for row in rows.all() if row.is_visible()]

    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert output.inner_text() == "5 of 5 claims"
    assert page.locator("tr.gbm-claims-chapter").filter(visible=True).count() == 3
    page.get_by_label("Verdict").select_option("not-supported")
    assert "claim-aspect-ratio-in-voxels" in shown()
    assert "claim-table-1" not in shown()
    page.get_by_label("Paper").select_option("b")
    assert shown() == ["claim-aspect-ratio-in-voxels"]
    assert page.locator("tr.gbm-claims-chapter").filter(visible=True).count() == 1
    assert page.url.endswith("claims.html?paper=b&verdict=not-supported")
    page.reload()  # the address alone gives the same view
    assert shown() == ["claim-aspect-ratio-in-voxels"]
    page.get_by_label("Words").fill("nothing like it")
    assert output.inner_text() == "0 of 5 claims"
    # A link to a hidden claim shows and opens it.
    page.evaluate("location.hash = 'claim-table-1'")
    page.wait_for_function("document.querySelector('#claim-table-1 details').open")
    assert len(shown()) == 5
    assert page.url.endswith("claims.html#claim-table-1")
