"""The list of references: nothing that no page cites, nothing cited that it lacks, and what each entry needs."""

import json
import re
from pathlib import Path

import pytest
from pybtex.database import parse_file

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = parse_file(str(ROOT / "book/references.bib"), "bibtex").entries
#: {cite}, {cite:p}, {cite:t}: keys with commas between.
CITED = re.compile(r"\{cite(?::\w+)?\}`([^`]+)`")


def prose():
    """The Markdown of every page, by name."""
    pages = {path.name: path.read_text() for path in (ROOT / "book").glob("*.md")}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        pages[path.name] = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return pages


def test_what_is_listed_is_cited_and_the_other_way_round():
    cited = {key.strip() for text in prose().values() for keys in CITED.findall(text) for key in keys.split(",")}
    assert cited == set(ENTRIES)


@pytest.mark.parametrize("key", ENTRIES)
def test_an_entry_names_authors_and_a_title_and_leads_somewhere(key):
    entry = ENTRIES[key]
    assert entry.persons["author"]
    assert entry.fields["title"]
    assert re.fullmatch(r"\d{4}", entry.fields["year"])
    leads = {"doi", "url", "howpublished", "note"} & set(entry.fields)
    assert leads or {"journal", "volume", "pages"} <= set(entry.fields)
    if "doi" in entry.fields:
        assert re.fullmatch(r"10\.\d{4,}/\S+", entry.fields["doi"])


def test_no_paper_is_cited_by_a_bare_link_where_the_list_could_have_it():
    for name, text in prose().items():
        assert re.findall(r"\]\(https://(?:arxiv\.org|doi\.org)/", text) == [], name
