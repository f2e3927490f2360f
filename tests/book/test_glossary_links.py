"""Links from the pages' prose to the glossary, and the glossary itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from docutils import nodes

ROOT = Path(__file__).resolve().parents[2]

import glossary_links  # noqa: E402
from glossary_links import Entry, link, pattern  # noqa: E402

DICE = Entry(("Dice", "Dice score"), "term-Dice", "The overlap.")
LOSS = Entry(("Dice loss",), "term-Dice-loss", "One minus Dice.")
WHOLE = Entry(("whole tumour", "WT"), "term-whole-tumour", "All of it.")
ET = Entry(("ET",), "term-ET", "The part that lights up.")
RUN = Entry(("run",), "term-run", "One training.")
KNOWN = [DICE, LOSS, WHOLE, ET, RUN]


def document(*children):
    of = nodes.document(None, None)
    of += list(children)
    return of


def paragraph(text):
    return nodes.paragraph("", "", nodes.Text(text))


def linked(*children, known=KNOWN):
    of = document(*children)
    return link(of, known, "glossary.html"), of


def test_the_first_mention_alone_is_linked_and_the_text_stays():
    names, of = linked(paragraph("A Dice, and a Dice."), paragraph("Dice again; WT."))
    assert names == ["Dice", "WT"]
    assert [p.astext() for p in of.findall(nodes.paragraph)] == ["A Dice, and a Dice.", "Dice again; WT."]
    [first, second] = of.findall(nodes.reference)
    assert (first["refuri"], first["reftitle"]) == ("glossary.html#term-Dice", "The overlap.")
    assert second["refuri"] == "glossary.html#term-whole-tumour"
    assert [type(child) for child in of[0].children] == [nodes.Text, nodes.reference, nodes.Text]


def test_names_of_one_entry_count_as_one_and_longer_terms_win():
    names, _ = linked(paragraph("The Dice loss of whole\ntumours; WT; a Dice score."))
    assert names == ["Dice loss", "whole\ntumours", "Dice score"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Whole tumour first.", ["Whole tumour"]),
        ("ETs and ET", ["ETs"]),
        ("et al., a pet, SET, ET-like", []),
        ("Dices, Dice-like, Dicer", ["Dices"]),
        ("dice are thrown", []),
        ("a run of runs", []),
    ],
)
def test_words_and_capitals(text, found):
    assert linked(paragraph(text))[0] == found


def test_no_link_in_headings_links_code_tables_formulae_and_outputs():
    heading = nodes.section("", nodes.title("", "", nodes.Text("Dice")))
    elsewhere = nodes.paragraph("", "", nodes.reference("", "Dice", refuri="x"), nodes.literal("", "Dice"))
    cell = nodes.row("", nodes.entry("", paragraph("Dice")))
    table = nodes.table("", nodes.tgroup("", nodes.tbody("", cell), cols=1))
    output = nodes.container("", paragraph("Dice"), classes=["cell_output"])
    dropdown = nodes.container("", paragraph("Dice"), classes=["sd-summary-title"])
    others = [nodes.literal_block("", "Dice"), nodes.math_block("", "Dice"), nodes.raw("", "Dice", format="html")]
    names, of = linked(heading, elsewhere, table, output, dropdown, *others)
    assert names == []
    assert len(list(of.findall(nodes.reference))) == 1
    # The same word in prose after all of them is the first mention.
    assert linked(heading.deepcopy(), paragraph("Dice"))[0] == ["Dice"]


def test_a_term_over_two_lines_is_found():
    lines = nodes.paragraph("", "", nodes.Text("The whole"), nodes.Text("\n"), nodes.Text("tumour, and more."))
    names, of = linked(lines)
    assert names == ["whole\ntumour"]
    assert of.astext() == "The whole\ntumour, and more."


def test_a_list_an_admonition_and_emphasis_are_prose():
    strong = nodes.paragraph("", "", nodes.strong("", "", nodes.Text("Dice")))
    items = nodes.bullet_list("", nodes.list_item("", strong), nodes.list_item("", paragraph("ET")))
    assert linked(nodes.note("", items))[0] == ["Dice", "ET"]


def test_a_long_definition_is_cut_at_a_word():
    hover = Entry(("x",), "x", "word " * 100).hover
    assert len(hover) <= glossary_links.HOVER + 2
    assert hover.endswith("word …")


def test_without_a_glossary_nothing_happens():
    assert linked(paragraph("Dice"), known=[])[0] == []


CONFIGURATION = """
import sys
sys.path.insert(0, {ext!r})
project, root_doc, extensions = "book", "index", ["myst_parser", "glossary_links"]
html_theme = "basic"
"""
PAGE = """# Dice and whole tumour

## Recall

The Dice of a whole tumour (`recall`), the [precision](https://example.org/precision). Dice again.

| Dice | recall |
|---|---|
| precision | 1 |

Precision comes last, and FLAIR.

```{toctree}
book/glossary
```
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The book's own glossary and one page beside it, rendered."""
    root = tmp_path_factory.mktemp("glossary")
    (root / "book").mkdir()
    (root / "conf.py").write_text(CONFIGURATION.format(ext=str(ROOT / "book/_ext")))
    (root / "book/glossary.md").write_text((ROOT / "book/glossary.md").read_text())
    (root / "index.md").write_text(PAGE)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", str(root), str(root / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "out"


def test_a_page_leads_to_anchors_that_exist(site):
    page, glossary = (site / "index.html").read_text(), (site / "book/glossary.html").read_text()
    found = re.findall(r'<a class="gbm-term[^"]*" href="book/glossary.html#([^"]+)" title="([^"]+)">([^<]+)</a>', page)
    assert [text for *_, text in found] == ["Dice", "whole tumour", "Precision", "FLAIR"]
    assert all(f'id="{anchor}"' in glossary for anchor, *_ in found)
    assert "gbm-term" not in glossary


def test_every_entry_has_one_to_three_sentences_and_no_name_twice():
    text = (ROOT / "book/glossary.md").read_text()
    blocks = re.findall(r"```\{glossary\}\n(.*?)```", text, re.DOTALL)
    names, definitions = [], []
    for block in blocks:
        for line in block.splitlines():
            if line and not line.startswith(" "):
                names.append(line)
        definitions += [" ".join(of.split()) for of in re.findall(r"(?:^  .*\n)+", block, re.MULTILINE)]
    assert len(definitions) >= 80
    assert len({name.lower() for name in names}) == len(names)
    for definition in definitions:
        assert 1 <= len(re.findall(r"[.?](?: |$)", definition)) <= 3, definition
    assert set(names) >= glossary_links.EVERYDAY


def test_the_terms_make_one_expression():
    finder, of = pattern(KNOWN)
    assert finder.search("whole tumour")
    assert of["wt"] is WHOLE
