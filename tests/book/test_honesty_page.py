"""The page on what was not reproduced: its directives and its role, in a small book with few records."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gbmlib.study import catalogue

ROOT = Path(__file__).resolve().parents[2]
CLAIMS = ("blocks-change-little", "leaky-relu-helps", "borders-are-worse", "table-1")
CONFIGURATION = """
import sys
sys.path.insert(0, {ext!r})
project, root_doc, html_theme, nb_execution_mode = "book", "book/honesty", "basic", "off"
extensions = ["myst_nb", "sphinx_design", "sphinxcontrib.bibtex", "claims", "honesty"]
bibtex_bibfiles = ["book/references.bib"]
suppress_warnings = ["myst.xref_missing", "toc.not_included"]
exclude_patterns = ["book/records", "notebooks", "out"]
"""
EXTRA = """
```{bibliography}
```

A role that is unknown: {records}`nonsense`.
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page's HTML, and what the build complained of."""
    root = tmp_path_factory.mktemp("honesty")
    (root / "book/records").mkdir(parents=True)
    for path in (ROOT / "book/records").iterdir():
        if not path.name.startswith(("unet-", "ensemble-")):  # so that a claim on U-Nets lacks its runs
            (root / "book/records" / path.name).symlink_to(path)
    (root / "book/facts").symlink_to(ROOT / "book/facts")
    (root / "notebooks").symlink_to(ROOT / "notebooks")
    for name in ("claims.md", "references.bib"):
        shutil.copy2(ROOT / "book" / name, root / "book")
    every = yaml.safe_load((ROOT / "book/claims.yml").read_text())
    chosen = [entry for entry in every if entry["id"] in CLAIMS]
    (root / "book/claims.yml").write_text(yaml.safe_dump(chosen))
    for name in {entry["chapter"] for entry in chosen}:
        (root / "book/runs").mkdir(exist_ok=True)
        (root / f"book/runs/{name}.md").write_text(f"# {name}\n")
    (root / "book/honesty.md").write_text((ROOT / "book/honesty.md").read_text() + EXTRA)
    (root / "conf.py").write_text(CONFIGURATION.format(ext=str(ROOT / "book/_ext")))
    command = [sys.executable, "-m", "sphinx", "-q", str(root), str(root / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    return (root / "out/book/honesty.html").read_text(), done.stderr


def test_nothing_is_left_unresolved_but_the_role_that_does_not_exist(page):
    text, complaints = page
    assert "records have no fact 'nonsense'; there are runs, gliomas" in complaints
    assert complaints.count("ERROR") == 1
    assert "{records}" not in text
    assert 'class="system-message"' not in text.replace("system-messages", "")


def test_claims_without_a_verdict_are_counted_by_what_they_lack(page):
    plain = " ".join(re.sub(r"<[^>]+>", "", page[0]).split())
    said = plain[plain.index("3 of 4 claims:") :]
    assert {"1 whose runs are not sound", "1 that lack runs", "1 for which no runs are defined"} <= set(
        re.split(", | and |[.] ", said[:120].removeprefix("3 of 4 claims: "))
    )
    assert 'href="claims.html?verdict=not-decided-yet"' in page[0]


def test_tables_are_folded(page):
    visible = re.sub(r"<details.*?</details>", "", page[0], flags=re.DOTALL)
    assert "<details" in page[0]
    assert "python -m gbmlib run" not in visible
    assert "trained with two seeds or more differ" in visible


def test_every_family_has_a_row(page):
    for family in catalogue.FAMILIES.values():
        assert family.title in page[0]


def test_what_twice_the_schedule_changed_is_shown_for_each_run_that_has_it(page):
    text = re.sub(r"<[^>]+>", " ", page[0])
    row = re.search(
        r"Paper A.s network brats2018-19 at 3 mm dice 720 (0\.\d{3}) (0\.\d{3}) ([+-]0\.\d{4}) no",
        " ".join(text.split()),
    )
    assert row, "the half of the study's schedule, which is too short"
    once, twice, change = map(float, row.groups())
    assert change == pytest.approx(twice - once, abs=0.0011)
    assert change > 0.03
    assert "Paper A’s network, without SE brats2018-19" in " ".join(text.split())
